/** Work that can wait, done a slice at a time, so that whatever came in over other connections meanwhile has its turn in between. */

export interface YieldingQueueLimits {
  /** More is refused. */
  readonly items: number
  /** What a slice takes at least, in milliseconds, where there is so much to do. */
  readonly sliceMs: number
  /** What a slice takes at most, as a share of the time since the last one: everything else may be much, and this goes on nevertheless. */
  readonly share: number
}

export class YieldingQueue<T> {
  readonly #work: (item: T) => void
  readonly #limits: YieldingQueueLimits
  #items: { readonly item: T; readonly at: number }[] = []
  #next = 0
  #planned: NodeJS.Immediate | undefined
  #endedAt = performance.now()

  /** @param work must not throw */
  constructor(work: (item: T) => void, limits: YieldingQueueLimits) {
    this.#work = work
    this.#limits = limits
  }

  get size(): number {
    return this.#items.length - this.#next
  }

  /** For how long the oldest one has waited, in milliseconds. */
  get behindMs(): number {
    const oldest = this.#items[this.#next]
    return oldest ? performance.now() - oldest.at : 0
  }

  /** @returns false when there is no room for it */
  push(item: T): boolean {
    if (this.size >= this.#limits.items) return false
    this.#items.push({ item, at: performance.now() })
    this.#planned ??= setImmediate(() => this.#slice())
    return true
  }

  /** What waits is forgotten. */
  close(): void {
    clearImmediate(this.#planned)
    this.#planned = undefined
    this.#items = []
    this.#next = 0
  }

  #slice(): void {
    const from = performance.now()
    const sliceMs = Math.max(this.#limits.sliceMs, (from - this.#endedAt) * this.#limits.share)
    while (this.#next < this.#items.length) {
      const entry = this.#items[this.#next++]
      if (entry) this.#work(entry.item)
      if (performance.now() - from >= sliceMs) break
    }
    this.#endedAt = performance.now()
    if (this.size === 0) return this.close()
    // What is done goes before it is more than what is left.
    if (this.#next > this.size) {
      this.#items = this.#items.slice(this.#next)
      this.#next = 0
    }
    this.#planned = setImmediate(() => this.#slice())
  }
}
