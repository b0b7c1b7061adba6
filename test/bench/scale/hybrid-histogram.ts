/**
 * The policy of "Serverless in the Wild" (section 4.2), for one application: a histogram of its idle times says when it is unloaded after an
 * execution, loaded again ahead of the next one, and until when it then waits. In place of ARIMA, which the paper has for idle times that are
 * mostly out of the histogram's bounds, stands its simplest case, their mean.
 */
export interface Windows {
  /** From the end of an execution until the application is loaded again; 0: it stays. */
  readonly prewarmMs: number
  /** For how long it stays, from then on. */
  readonly keepAliveMs: number
}

const binMs = 60_000
const bins = 240
const [head, tail] = [0.05, 0.99]
const margin = 0.1
/** Of the bins' counts, in terms of their coefficient of variation: a flatter histogram says nothing. */
const representative = 2
const mostOutOfBounds = 0.5
const seriesMargin = 0.15

export class HybridHistogram {
  readonly #counts = new Uint32Array(bins)
  #seen = 0
  #squares = 0
  #outOfBounds = 0
  #outOfBoundsMs = 0

  idled(ms: number): void {
    const bin = Math.floor(ms / binMs)
    if (bin >= bins) {
      this.#outOfBounds++
      this.#outOfBoundsMs += ms
      return
    }
    const count = this.#counts[bin] ?? 0
    this.#counts[bin] = count + 1
    this.#squares += 2 * count + 1
    this.#seen++
  }

  get windows(): Windows {
    if (this.#outOfBounds > mostOutOfBounds * (this.#seen + this.#outOfBounds)) {
      const expectedMs = this.#outOfBoundsMs / this.#outOfBounds
      return { prewarmMs: (1 - seriesMargin) * expectedMs, keepAliveMs: 2 * seriesMargin * expectedMs }
    }
    if (this.#variation < representative) return { prewarmMs: 0, keepAliveMs: bins * binMs }
    const prewarmMs = this.#binOf(head) * binMs * (1 - margin)
    return { prewarmMs, keepAliveMs: (this.#binOf(tail) + 1) * binMs * (1 + margin) - prewarmMs }
  }

  /** Standard deviation of the bins' counts to their mean. */
  get #variation(): number {
    if (this.#seen === 0) return 0
    const mean = this.#seen / bins
    return Math.sqrt(Math.max(0, this.#squares / bins - mean ** 2)) / mean
  }

  #binOf(share: number): number {
    let sum = 0
    for (const [bin, count] of this.#counts.entries()) {
      sum += count
      if (sum >= share * this.#seen) return bin
    }
    return bins - 1
  }
}
