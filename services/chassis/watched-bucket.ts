/**
 * A KV bucket in memory, kept fresh by a watch.
 *
 * A writer sees its own write at once. Others see it when the watch tells, within milliseconds. The watch may miss
 * something around a restart of NATS, so a full pass over the bucket follows every reconnect and every `resyncMs`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { KV, KvEntry } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Logger } from './log.ts'

export interface Held<T> {
  readonly revision: number
  /** Absent: a delete marker. */
  readonly value?: T
}

export interface BucketDeps {
  readonly kv: KV
  readonly connection: NatsConnection
  readonly logger: Logger
  readonly resyncMs?: number
}

export interface BucketContent<T> {
  /** For the log. */
  readonly name: string
  /** Of the keys to follow, as NATS filters subjects; absent: all. */
  readonly filter?: string
  /** Nothing for an entry that is not held in memory. */
  readonly read: (entry: KvEntry) => T | undefined
  /** Called once, when memory is complete. */
  readonly synced?: () => void
  /** Told of every change of what is held. */
  readonly changed?: (key: string, before: T | undefined, after: T | undefined) => void
}

export class WatchedBucket<T> {
  readonly #deps: BucketDeps
  readonly #content: BucketContent<T>
  readonly #held = new Map<string, Held<T>>()
  readonly #stop = new AbortController()
  #watching: { stop(): void } | undefined
  #synced = false

  constructor(deps: BucketDeps, content: BucketContent<T>) {
    this.#deps = deps
    this.#content = content
  }

  get synced(): boolean {
    return this.#synced
  }

  /** Begins to follow the bucket and returns; `synced` tells when memory is complete. Ends with `close`. */
  start(): void {
    const { logger } = this.#deps
    for (const loop of [this.#watchLoop(), this.#resyncLoop(), this.#reconnectLoop()])
      loop.catch((err: unknown) => logger.error({ err }, `${this.#content.name}: a loop ended`))
  }

  close(): void {
    this.#stop.abort()
    this.#watching?.stop()
  }

  get #keys(): { key?: string } {
    const { filter } = this.#content
    return filter === undefined ? {} : { key: filter }
  }

  get(key: string): T | undefined {
    return this.#held.get(key)?.value
  }

  *values(): Generator<T> {
    for (const { value } of this.#held.values()) if (value !== undefined) yield value
  }

  /** Reads the key itself and takes it into memory. */
  async confirm(key: string): Promise<Held<T> | undefined> {
    const entry = await this.#deps.kv.get(key)
    if (entry) this.#take(entry, true)
    else this.#forget(key)
    return this.#held.get(key)
  }

  hold(key: string, held: Held<T>): void {
    const before = this.#held.get(key)?.value
    this.#held.set(key, held)
    this.#content.changed?.(key, before, held.value)
  }

  #take(entry: KvEntry, force = false): void {
    const known = this.#held.get(entry.key)
    if (!force && known && known.revision >= entry.revision) return
    if (entry.operation !== 'PUT') return this.hold(entry.key, { revision: entry.revision })
    const value = this.#content.read(entry)
    if (value !== undefined) this.hold(entry.key, { revision: entry.revision, value })
  }

  #forget(key: string): void {
    this.hold(key, { revision: 0 })
    this.#held.delete(key)
  }

  async #watchLoop(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const entries = await this.#deps.kv.watch(this.#keys)
        this.#watching = entries
        for await (const entry of entries) this.#take(entry)
      } catch (err) {
        this.#deps.logger.warn({ err }, `${this.#content.name}: the watch broke`)
      }
      await this.#pause(500)
    }
  }

  async #resyncLoop(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const ok = await this.#resync()
      await this.#pause(ok ? (this.#deps.resyncMs ?? 30_000) : 500)
    }
  }

  async #reconnectLoop(): Promise<void> {
    for await (const { type } of this.#deps.connection.status()) if (type === 'reconnect') await this.#resync()
  }

  /** One pass over the whole bucket. What memory has and the pass does not is looked up one by one. */
  async #resync(): Promise<boolean> {
    try {
      const seen = new Set<string>()
      for await (const entry of await this.#deps.kv.history(this.#keys)) {
        seen.add(entry.key)
        const known = this.#held.get(entry.key)
        if (known && known.revision > entry.revision) await this.confirm(entry.key)
        else this.#take(entry)
      }
      for (const key of this.#held.keys()) if (!seen.has(key)) await this.confirm(key)
      if (!this.#synced) this.#content.synced?.()
      this.#synced = true
      return true
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#deps.logger.warn({ err }, `${this.#content.name}: the resync failed`)
      return false
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined)
  }
}
