/** One clock for all that simulated nodes wait for: a wheel of milliseconds and one timer, where a timer for each would be most of the work. */

const slots = 4096

export class SimulatedTime {
  readonly #wheel: (() => void)[][] = Array.from({ length: slots }, () => [])
  #turned = Math.floor(performance.now())
  #timer: NodeJS.Timeout | undefined

  /** Calls within a millisecond of then. @param ms below 4,096; what is longer is cut */
  after(ms: number, call: () => void): void {
    const at = Math.max(this.#turned + 1, Math.ceil(performance.now() + Math.min(ms, slots - 2)))
    this.#wheel[at % slots]?.push(call)
    this.#timer ??= setTimeout(() => this.#turn(), 1)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #turn(): void {
    const now = Math.floor(performance.now())
    // After standing still for more than a turn every slot is due once.
    for (this.#turned = Math.max(this.#turned, now - slots); this.#turned < now;) {
      const at = ++this.#turned % slots
      const due = this.#wheel[at]
      if (!due || due.length === 0) continue
      this.#wheel[at] = []
      for (const call of due) call()
    }
    this.#timer?.refresh()
  }
}
