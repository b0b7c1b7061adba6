/** Requests that wait for an instance: first in, first out per revision; bounded over all revisions together. */
import { PlatformError } from '../../contracts/errors.ts'

export interface BufferLimits {
  readonly bufferedRequests: number
  readonly bufferedBytes: number
}

export interface Buffered {
  readonly key: string
  readonly bytes: number
}

export class RevisionBuffer<T extends Buffered> {
  readonly #limits: BufferLimits
  readonly #queues = new Map<string, Set<T>>()
  #requests = 0
  #bytes = 0

  constructor(limits: BufferLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#requests
  }

  /** @throws PlatformError TOO_MANY_REQUESTS naming the limit that is reached. */
  push(item: T): void {
    const over =
      this.#requests + 1 > this.#limits.bufferedRequests
        ? 'bufferedRequests'
        : this.#bytes + item.bytes > this.#limits.bufferedBytes
          ? 'bufferedBytes'
          : undefined
    if (over)
      throw new PlatformError('TOO_MANY_REQUESTS', `the node's buffer is full: ${over} ${this.#limits[over]}`, {
        limit: over,
        value: this.#limits[over],
      })
    const queue = this.#queues.get(item.key) ?? new Set<T>()
    queue.add(item)
    this.#queues.set(item.key, queue)
    this.#requests++
    this.#bytes += item.bytes
  }

  /** The oldest that `wanted` accepts; it stays where it is. */
  find(key: string, wanted: (item: T) => boolean): T | undefined {
    for (const item of this.#queues.get(key) ?? []) if (wanted(item)) return item
    return undefined
  }

  /** False when it no longer waits. */
  remove(item: T): boolean {
    const queue = this.#queues.get(item.key)
    if (!queue?.delete(item)) return false
    if (queue.size === 0) this.#queues.delete(item.key)
    this.#requests--
    this.#bytes -= item.bytes
    return true
  }

  waiting(key: string): T[] {
    return [...(this.#queues.get(key) ?? [])]
  }
}
