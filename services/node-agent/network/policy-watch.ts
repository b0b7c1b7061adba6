/** Follows the policies of all functions in the registry: by a watch, and by a full pass from time to time, as a watch may miss something. */
import type { KV, KvEntry } from '@nats-io/kv'
import { setTimeout as delay } from 'node:timers/promises'
import { Compile } from 'typebox/compile'
import type { Logger } from '../../chassis/log.ts'
import { NetworkPolicyRecord, type NetworkPolicy } from '../../contracts/network.ts'

const recordSchema = Compile(NetworkPolicyRecord)

export interface PolicyWatchDeps {
  readonly kv: Pick<KV, 'watch' | 'history'>
  readonly onChange: (key: string, policy: NetworkPolicy | undefined) => void
  readonly logger: Logger
  readonly resyncMs?: number
}

export class PolicyWatch {
  readonly #deps: PolicyWatchDeps
  readonly #revisions = new Map<string, number>()
  readonly #held = new Set<string>()
  readonly #stop = new AbortController()
  #watching: { stop(): void } | undefined

  constructor(deps: PolicyWatchDeps) {
    this.#deps = deps
  }

  /** Resolves when every policy of now is known. */
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
    const value: unknown = entry.operation === 'PUT' ? entry.json() : undefined
    const record = recordSchema.Check(value) ? value : undefined
    if (value !== undefined && !record)
      this.#deps.logger.error(
        { key: entry.key },
        'a network policy does not fit the schema: its function reaches nothing',
      )
    this.#change(entry.key, record?.policy)
  }

  #change(key: string, policy: NetworkPolicy | undefined): void {
    const known = this.#held.has(key)
    if (policy) this.#held.add(key)
    else this.#held.delete(key)
    if (policy || known) this.#deps.onChange(key, policy)
  }

  async #watchLoop(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const entries = await this.#deps.kv.watch()
        this.#watching = entries
        for await (const entry of entries) this.#take(entry)
      } catch (err) {
        this.#deps.logger.warn({ err }, 'network policies: the watch broke')
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
      for await (const entry of await this.#deps.kv.history()) {
        seen.add(entry.key)
        this.#take(entry)
      }
      // Purged: not even a marker is left.
      for (const key of this.#held) if (!seen.has(key)) this.#change(key, undefined)
      return true
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#deps.logger.warn({ err }, 'network policies: the resync failed')
      return false
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined)
  }
}
