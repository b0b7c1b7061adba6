/** Follows records of functions in the registry: by a watch, and by a full pass from time to time, as a watch may miss something. */
import type { KV, KvEntry } from '@nats-io/kv'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../chassis/log.ts'

export interface RecordWatchDeps<T> {
  readonly kv: Pick<KV, 'watch' | 'history'>
  /** Of the keys to follow, as NATS filters subjects. */
  readonly filter: string
  /** @throws when the value is none of these records: its function then has none. */
  readonly read: (value: unknown, key: string) => T
  readonly onChange: (key: string, record: T | undefined) => void
  readonly logger: Logger
  readonly resyncMs?: number
}

export class RecordWatch<T> {
  readonly #deps: RecordWatchDeps<T>
  readonly #revisions = new Map<string, number>()
  readonly #held = new Set<string>()
  readonly #stop = new AbortController()
  #watching: { stop(): void } | undefined

  constructor(deps: RecordWatchDeps<T>) {
    this.#deps = deps
  }

  /** Resolves when every record of now is known. */
  async start(): Promise<void> {
    void this.#watchLoop()
    while (!(await this.#resync())) await this.#pause(500)
    void this.#resyncLoop()
  }

  close(): void {
    this.#stop.abort()
    this.#watching?.stop()
  }

  #take(entry: KvEntry): void {
    if ((this.#revisions.get(entry.key) ?? 0) >= entry.revision) return
    this.#revisions.set(entry.key, entry.revision)
    this.#change(entry.key, entry.operation === 'PUT' ? this.#read(entry) : undefined)
  }

  #read(entry: KvEntry): T | undefined {
    try {
      return this.#deps.read(entry.json(), entry.key)
    } catch (err) {
      this.#deps.logger.error({ err, key: entry.key }, 'a record cannot be read: its function has none')
      return undefined
    }
  }

  #change(key: string, record: T | undefined): void {
    const known = this.#held.has(key)
    if (record) this.#held.add(key)
    else this.#held.delete(key)
    if (record || known) this.#deps.onChange(key, record)
  }

  async #watchLoop(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const entries = await this.#deps.kv.watch({ key: this.#deps.filter })
        this.#watching = entries
        for await (const entry of entries) this.#take(entry)
      } catch (err) {
        this.#deps.logger.warn({ err }, 'records of functions: the watch broke')
      }
      await this.#pause(500)
    }
  }

  async #resyncLoop(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#pause(this.#deps.resyncMs ?? 30_000)
      await this.#resync()
    }
  }

  async #resync(): Promise<boolean> {
    try {
      const seen = new Set<string>()
      for await (const entry of await this.#deps.kv.history({ key: this.#deps.filter })) {
        seen.add(entry.key)
        this.#take(entry)
      }
      // Purged: not even a marker is left.
      for (const key of this.#held) if (!seen.has(key)) this.#change(key, undefined)
      return true
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#deps.logger.warn({ err }, 'records of functions: the resync failed')
      return false
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined)
  }
}
