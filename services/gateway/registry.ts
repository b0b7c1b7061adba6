/**
 * The function registry: reads come from memory, kept fresh by a watch; writes are compare-and-set on the KV bucket.
 *
 * A writer sees its own write at once. Other gateways see it when the watch tells, within milliseconds. The watch may miss
 * something around a restart of NATS, so a full pass over the bucket follows every reconnect and every `resyncMs`.
 */
import { JetStreamApiError } from '@nats-io/jetstream'
import type { KV, KvEntry } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import { setTimeout as delay } from 'node:timers/promises'
import { Compile } from 'typebox/compile'
import type { Logger } from '../chassis/log.ts'
import { PlatformError } from '../contracts/errors.ts'
import { FunctionRecord, functionArn, VersionConfig } from '../contracts/function.ts'
import { registryKey, tombstoneKey, versionKey } from '../contracts/subjects.ts'

interface Held {
  readonly revision: number
  /** Absent: a delete marker. */
  readonly record?: FunctionRecord
  readonly version?: VersionConfig
}

const recordSchema = Compile(FunctionRecord)
const versionSchema = Compile(VersionConfig)
const wrongLastSequence = 10071
const casAttempts = 20

export interface RegistryDeps {
  readonly kv: KV
  readonly connection: NatsConnection
  readonly logger: Logger
  readonly region: string
  readonly resyncMs?: number
}

export class Registry {
  readonly #deps: RegistryDeps
  readonly #held = new Map<string, Held>()
  readonly #urls = new Map<string, string>()
  readonly #stop = new AbortController()
  #watching: { stop(): void } | undefined
  #synced = false

  constructor(deps: RegistryDeps) {
    this.#deps = deps
  }

  get synced(): boolean {
    return this.#synced
  }

  /** Begins to follow the bucket and returns; `synced` tells when memory is complete. Ends with `close`. */
  start(): void {
    const { logger } = this.#deps
    for (const loop of [this.#watchLoop(), this.#resyncLoop(), this.#reconnectLoop()])
      loop.catch((err: unknown) => logger.error({ err }, 'registry: a loop ended'))
  }

  close(): void {
    this.#stop.abort()
    this.#watching?.stop()
  }

  find(tenant: string, name: string): FunctionRecord | undefined {
    return this.#held.get(registryKey(tenant, name))?.record
  }

  /** @throws PlatformError NOT_FOUND */
  get(tenant: string, name: string, qualifier?: string): FunctionRecord {
    return this.find(tenant, name) ?? this.#missing(name, qualifier)
  }

  /** As the store has it now, for when memory does not know it: another gateway may have written it a moment ago. */
  async refresh(tenant: string, name: string): Promise<FunctionRecord | undefined> {
    const record = (await this.#confirm(registryKey(tenant, name)))?.record
    for (const version of record?.versions ?? [])
      if (!this.version(tenant, name, version)) await this.#confirm(versionKey(tenant, name, version))
    return record
  }

  version(tenant: string, name: string, version: number): VersionConfig | undefined {
    return this.#held.get(versionKey(tenant, name, version))?.version
  }

  /** Ascending by name. */
  list(tenant: string): FunctionRecord[] {
    const records: FunctionRecord[] = []
    for (const { record } of this.#held.values()) if (record?.tenant === tenant) records.push(record)
    return records.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  findUrl(urlId: string): { record: FunctionRecord; qualifier: string } | undefined {
    const record = this.#held.get(this.#urls.get(urlId) ?? '')?.record
    const found = record && Object.entries(record.urls).find(([, url]) => url.urlId === urlId)
    return record && found ? { record, qualifier: found[0] } : undefined
  }

  /** The number that the next version of a new function gets: numbers of a deleted one are never used again. */
  async firstVersion(tenant: string, name: string): Promise<number> {
    const entry = await this.#deps.kv.get(tombstoneKey(tenant, name))
    return entry?.operation === 'PUT' ? Number(entry.string()) : 1
  }

  /** @throws PlatformError ALREADY_EXISTS */
  async create(record: FunctionRecord): Promise<void> {
    const key = registryKey(record.tenant, record.name)
    try {
      this.#hold(key, { revision: await this.#deps.kv.create(key, JSON.stringify(record)), record })
    } catch (error) {
      if (!isConflict(error)) throw error
      await this.#confirm(key)
      throw new PlatformError('ALREADY_EXISTS', `Function already exist: ${record.name}`)
    }
  }

  /**
   * Applies `change` to the newest record, again if somebody else was faster; it must be free of side effects but for those that
   * may happen twice. Returning the record itself writes nothing.
   */
  async update(
    tenant: string,
    name: string,
    change: (record: FunctionRecord) => FunctionRecord | Promise<FunctionRecord>,
  ): Promise<FunctionRecord> {
    const key = registryKey(tenant, name)
    for (let attempt = 1; attempt <= casAttempts; attempt++) {
      const held = await this.#confirm(key)
      if (!held?.record) return this.#missing(name)
      const record = await change(held.record)
      if (record === held.record) return record
      try {
        const revision = await this.#deps.kv.update(key, JSON.stringify(record), held.revision)
        this.#hold(key, { revision, record })
        return record
      } catch (error) {
        if (!isConflict(error)) throw error
      }
      await delay(Math.random() * 10 * attempt)
    }
    throw new PlatformError('ALREADY_EXISTS', `An update is in progress for ${name}: too many writers at a time`)
  }

  /**
   * Stores a version under the first free number from `config.version` on, and returns it as stored. The record does not name it
   * yet; `dropVersion` when it never will.
   */
  async addVersion(config: VersionConfig): Promise<VersionConfig> {
    for (let number = Number(config.version); ; number++) {
      const version = { ...config, version: String(number) }
      const key = versionKey(config.tenant, config.name, number)
      try {
        this.#hold(key, { revision: await this.#deps.kv.create(key, JSON.stringify(version)), version })
        return version
      } catch (error) {
        if (!isConflict(error)) throw error
      }
    }
  }

  async dropVersion(tenant: string, name: string, version: number): Promise<void> {
    const key = versionKey(tenant, name, version)
    await this.#deps.kv.purge(key)
    await this.#confirm(key)
  }

  /** @throws PlatformError NOT_FOUND */
  async delete(tenant: string, name: string): Promise<void> {
    const key = registryKey(tenant, name)
    const held = await this.#confirm(key)
    if (!held?.record) return this.#missing(name)
    const { nextVersion, versions } = held.record
    if (nextVersion > 1) await this.#deps.kv.put(tombstoneKey(tenant, name), String(nextVersion))
    await this.#deps.kv.delete(key, { previousSeq: held.revision }).catch((error: unknown) => {
      if (isConflict(error)) throw new PlatformError('ALREADY_EXISTS', `An update is in progress for ${name}`)
      throw error
    })
    await this.#confirm(key)
    for (const version of versions) await this.dropVersion(tenant, name, version)
  }

  #missing(name: string, qualifier?: string): never {
    throw new PlatformError('NOT_FOUND', `Function not found: ${functionArn(this.#deps.region, name, qualifier)}`)
  }

  /** Reads the key itself and takes it into memory. */
  async #confirm(key: string): Promise<Held | undefined> {
    const entry = await this.#deps.kv.get(key)
    if (entry) this.#take(entry, true)
    else this.#forget(key)
    return this.#held.get(key)
  }

  #take(entry: KvEntry, force = false): void {
    const known = this.#held.get(entry.key)
    if (!force && known && known.revision >= entry.revision) return
    if (entry.operation !== 'PUT') return this.#hold(entry.key, { revision: entry.revision })
    if (entry.key.endsWith('.next') && entry.key.split('.').length === 3) return
    const value: unknown = entry.json()
    if (recordSchema.Check(value)) this.#hold(entry.key, { revision: entry.revision, record: value })
    else if (versionSchema.Check(value)) this.#hold(entry.key, { revision: entry.revision, version: value })
    else this.#deps.logger.error({ key: entry.key }, 'registry: an entry does not fit the schema')
  }

  #hold(key: string, held: Held): void {
    const before = this.#held.get(key)?.record
    for (const { urlId } of Object.values(before?.urls ?? {})) this.#urls.delete(urlId)
    this.#held.set(key, held)
    for (const { urlId } of Object.values(held.record?.urls ?? {})) this.#urls.set(urlId, key)
  }

  #forget(key: string): void {
    this.#hold(key, { revision: 0 })
    this.#held.delete(key)
  }

  async #watchLoop(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const entries = await this.#deps.kv.watch()
        this.#watching = entries
        for await (const entry of entries) this.#take(entry)
      } catch (err) {
        this.#deps.logger.warn({ err }, 'registry: the watch broke')
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
      for await (const entry of await this.#deps.kv.history()) {
        seen.add(entry.key)
        const known = this.#held.get(entry.key)
        if (known && known.revision > entry.revision) await this.#confirm(entry.key)
        else this.#take(entry)
      }
      for (const key of this.#held.keys()) if (!seen.has(key)) await this.#confirm(key)
      this.#synced = true
      return true
    } catch (err) {
      if (!this.#stop.signal.aborted) this.#deps.logger.warn({ err }, 'registry: the resync failed')
      return false
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined)
  }
}

const isConflict = (error: unknown): boolean => error instanceof JetStreamApiError && error.code === wrongLastSequence
