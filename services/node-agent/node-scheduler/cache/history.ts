/**
 * When a function, or a runtime, is needed: the idle times that arrivals ended, and how many were in flight at each arrival. Bounded and
 * plain data, so that a decision can be replayed from it. Nothing here reads a clock.
 */
export interface History {
  /** Epoch milliseconds since which nothing is in flight; absent while something is. */
  readonly idleSince?: number
  /** Milliseconds without anything in flight that an arrival ended, oldest first. */
  readonly gapsMs: readonly number[]
  /** In flight at each arrival, itself included, oldest first. */
  readonly overlaps: readonly number[]
}

/** Enough for the tail of a distribution, few enough to forget last week's habits. */
export const keptSamples = 64

/** Records in constant time. Times are epoch milliseconds. */
export class ArrivalLog {
  readonly #gapsMs: number[] = []
  readonly #overlaps: number[] = []
  #inFlight = 0
  #idleSince: number

  /** @param since nothing has arrived so far, and nobody knows what was before, but what is `known`. */
  constructor(since: number, known?: History) {
    this.#idleSince = known?.idleSince ?? since
    if (!known) return
    this.#gapsMs.push(...known.gapsMs.slice(-keptSamples))
    this.#overlaps.push(...known.overlaps.slice(-keptSamples))
  }

  arrived(now: number): void {
    if (this.#inFlight++ === 0 && this.#overlaps.length > 0) keep(this.#gapsMs, Math.max(0, now - this.#idleSince))
    keep(this.#overlaps, this.#inFlight)
  }

  ended(now: number): void {
    this.#inFlight = Math.max(0, this.#inFlight - 1)
    if (this.#inFlight === 0) this.#idleSince = now
  }

  get busy(): boolean {
    return this.#inFlight > 0
  }

  get idleSince(): number {
    return this.#idleSince
  }

  history(): History {
    const kept = { gapsMs: [...this.#gapsMs], overlaps: [...this.#overlaps] }
    return this.busy ? kept : { idleSince: this.#idleSince, ...kept }
  }
}

const keep = (samples: number[], value: number): void => {
  samples.push(value)
  if (samples.length > keptSamples) samples.shift()
}

/**
 * What is believed before anything was seen, as strong as one sample: idle times spread evenly over orders of magnitude, from 100 ms to
 * 4 h. Hence who has been idle for long is expected to stay so.
 */
const [shortestMs, longestMs] = [100, 14_400_000]
const orders = Math.log(longestMs / shortestMs)

const priorSurvival = (ms: number): number =>
  ms <= shortestMs ? 1 : Math.max(0, 1 - Math.log(ms / shortestMs) / orders)

/** Integral of `priorSurvival` from 0 to `ms`. */
const priorHoldMs = (ms: number): number => {
  const to = Math.min(ms, longestMs)
  return to <= shortestMs ? to : to - (to * Math.log(to / shortestMs) - to + shortestMs) / orders
}

/** The idle times of a history, with the prior. */
export class IdleTimes {
  /** Ascending. */
  readonly gapsMs: readonly number[]
  /** Of the first so many. */
  readonly #sumsMs: readonly number[]

  constructor({ gapsMs }: Pick<History, 'gapsMs'>) {
    this.gapsMs = gapsMs.toSorted((a, b) => a - b)
    const sums = [0]
    for (const gap of this.gapsMs) sums.push((sums.at(-1) ?? 0) + gap)
    this.#sumsMs = sums
  }

  get meanMs(): number {
    return this.gapsMs.length === 0 ? 0 : (this.#sumsMs.at(-1) ?? 0) / this.gapsMs.length
  }

  /** The shortest that `share` of them do not exceed; 0 without any. */
  quantileMs(share: number): number {
    return this.gapsMs[Math.max(0, Math.ceil(share * this.gapsMs.length) - 1)] ?? 0
  }

  /** Probability that an idle time is longer than `ms`. */
  survival(ms: number): number {
    return (this.gapsMs.length - this.#upTo(ms) + priorSurvival(ms)) / (this.gapsMs.length + 1)
  }

  /** How long something is held on average that is given up after `ms`, or used before. */
  expectedHoldMs(ms: number): number {
    const shorter = this.#upTo(ms)
    const longerMs = (this.gapsMs.length - shorter) * ms
    return ((this.#sumsMs[shorter] ?? 0) + longerMs + priorHoldMs(ms)) / (this.gapsMs.length + 1)
  }

  /** How many are not longer than `ms`. */
  #upTo(ms: number): number {
    let [low, high] = [0, this.gapsMs.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.gapsMs[middle] ?? 0) <= ms) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Share of arrivals that find others in flight, so that `count` are needed at the same time. */
export const needOf = ({ overlaps }: History, count: number, concurrency = 1): number => {
  if (count <= 1) return 1
  return overlaps.filter((overlap) => overlap > (count - 1) * concurrency).length / (overlaps.length + 1)
}

/** Highest count that was ever needed. */
export const mostNeeded = ({ overlaps }: History, concurrency = 1): number =>
  Math.max(1, Math.ceil(Math.max(1, ...overlaps) / concurrency))

export interface Prospect {
  /** Probability that something arrives within the time. */
  readonly likely: number
  /** Arrivals expected within it. One that is rarer than that counts with its probability. */
  readonly uses: number
}

/** What is expected within `ms` from `now`, given for how long nothing arrived. */
export const prospect = (history: History, times: IdleTimes, now: number, ms: number): Prospect => {
  const { idleSince } = history
  const ageMs = idleSince === undefined ? 0 : Math.max(0, now - idleSince)
  const stillIdle = times.survival(ageMs)
  const afterIdle = stillIdle === 0 ? 0 : 1 - times.survival(ageMs + ms) / stillIdle
  const whileBusy = needOf(history, 2)
  const likely = idleSince === undefined ? whileBusy + (1 - whileBusy) * afterIdle : afterIdle
  const seen = times.gapsMs.length
  const betweenMs = Math.max(1, ((times.meanMs * seen + ms) / (seen + 1)) * (1 - whileBusy))
  // Whoever was never idle for so long has stopped, or comes back as somebody new.
  const overdue = ageMs > (times.gapsMs.at(-1) ?? 0)
  return { likely, uses: overdue ? likely : likely * Math.max(1, ms / betweenMs) }
}
