/**
 * The function registry: reads come from memory, kept fresh by a watch; writes are compare-and-set on the KV bucket. Variables of
 * functions are sealed there, and open here; an entry that this installation did not sign is none.
 */
import type { KvEntry } from '@nats-io/kv'
import { setTimeout as delay } from 'node:timers/promises'
import { Compile } from 'typebox/compile'
import { isSealedAnew, openConfig, openRecord, sealConfig, sealRecord } from '../chassis/sealed-config.ts'
import type { Sealer } from '../chassis/sealing.ts'
import type { Signed, Signer } from '../chassis/signing.ts'
import { PlatformError } from '../contracts/errors.ts'
import { FunctionRecord, functionArn, VersionConfig } from '../contracts/function.ts'
import { registryKey, tombstoneKey, versionKey } from '../contracts/subjects.ts'
import { isConflict } from '../chassis/nats.ts'
import { WatchedBucket, type BucketDeps } from '../chassis/watched-bucket.ts'

/** One of the two. */
interface Entry {
  readonly record?: FunctionRecord
  readonly version?: VersionConfig
  /** As it lies in the bucket, it is to be sealed anew. */
  readonly old?: boolean
}

export type RegistryChange = 'synced' | { readonly tenant: string; readonly name: string }

const recordSchema = Compile(FunctionRecord)
const versionSchema = Compile(VersionConfig)
const casAttempts = 20

export interface RegistryDeps extends BucketDeps {
  readonly region: string
  readonly sealer: Sealer
  readonly signer: Signer
  /** Takes entries without a signature for good, and signs them: once, after an upgrade from a version that signed nothing. */
  readonly adoptUnsigned: boolean
}

const readEntry = (entry: KvEntry, deps: RegistryDeps): Entry | undefined => {
  const { sealer, signer, adoptUnsigned, logger } = deps
  if (entry.key.endsWith('.next') && entry.key.split('.').length === 3) return undefined
  const value: unknown = entry.json()
  try {
    const checked = <T extends Signed>(signed: T): Omit<T, 'signature'> =>
      adoptUnsigned && signed.signature === undefined ? signed : signer.check(entry.key, signed)
    if (recordSchema.Check(value)) {
      const record = openRecord(sealer, checked(value))
      return { record, old: signer.isOld(value) || !isSealedAnew(sealer, value.latest) }
    }
    if (versionSchema.Check(value)) {
      const version = openConfig(sealer, checked(value))
      return { version, old: signer.isOld(value) || !isSealedAnew(sealer, value) }
    }
    logger.error({ key: entry.key }, 'registry: an entry does not fit the schema')
  } catch (err) {
    logger.error(
      { err, key: entry.key },
      'registry: an entry is not the installation’s own, or its variables cannot be opened',
    )
  }
  return undefined
}

export class Registry {
  readonly #deps: RegistryDeps
  readonly #bucket: WatchedBucket<Entry>
  readonly #urls = new Map<string, string>()
  /** Told of each change of a function or of one of its versions, and once when memory is complete. */
  onChange: (change: RegistryChange) => void = () => undefined

  constructor(deps: RegistryDeps) {
    this.#deps = deps
    this.#bucket = new WatchedBucket(deps, {
      name: 'registry',
      read: (entry) => readEntry(entry, deps),
      synced: () => {
        this.onChange('synced')
        void this.#sealAnew().catch((err: unknown) => deps.logger.error({ err }, 'registry: entries stay as they are'))
      },
      changed: (key, before, after) => {
        for (const { urlId } of Object.values(before?.record?.urls ?? {})) this.#urls.delete(urlId)
        for (const { urlId } of Object.values(after?.record?.urls ?? {})) this.#urls.set(urlId, key)
        const of = after?.record ?? after?.version ?? before?.record ?? before?.version
        if (of) this.onChange({ tenant: of.tenant, name: of.name })
      },
    })
  }

  get synced(): boolean {
    return this.#bucket.synced
  }

  /** Begins to follow the bucket and returns; `synced` tells when memory is complete. Ends with `close`. */
  start(): void {
    this.#bucket.start()
  }

  close(): void {
    this.#bucket.close()
  }

  find(tenant: string, name: string): FunctionRecord | undefined {
    return this.#bucket.get(registryKey(tenant, name))?.record
  }

  /** @throws PlatformError NOT_FOUND */
  get(tenant: string, name: string, qualifier?: string): FunctionRecord {
    return this.find(tenant, name) ?? this.#missing(tenant, name, qualifier)
  }

  /** As the store has it now, for when memory does not know it: another gateway may have written it a moment ago. */
  async refresh(tenant: string, name: string): Promise<FunctionRecord | undefined> {
    const record = (await this.#bucket.confirm(registryKey(tenant, name)))?.value?.record
    for (const version of record?.versions ?? [])
      if (!this.version(tenant, name, version)) await this.#bucket.confirm(versionKey(tenant, name, version))
    return record
  }

  version(tenant: string, name: string, version: number): VersionConfig | undefined {
    return this.#bucket.get(versionKey(tenant, name, version))?.version
  }

  /** Of all tenants. */
  *all(): Iterable<FunctionRecord> {
    for (const { record } of this.#bucket.values()) if (record) yield record
  }

  /** Ascending by name. */
  list(tenant: string): FunctionRecord[] {
    const records: FunctionRecord[] = []
    for (const { record } of this.#bucket.values()) if (record?.tenant === tenant) records.push(record)
    return records.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  findUrl(urlId: string): { record: FunctionRecord; qualifier: string } | undefined {
    const record = this.#bucket.get(this.#urls.get(urlId) ?? '')?.record
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
      this.#bucket.hold(key, { revision: await this.#deps.kv.create(key, this.#recordText(record)), value: { record } })
    } catch (error) {
      if (!isConflict(error)) throw error
      await this.#bucket.confirm(key)
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
      const held = await this.#bucket.confirm(key)
      const before = held?.value?.record
      if (!before) return this.#missing(tenant, name)
      const record = await change(before)
      if (record === before) return record
      try {
        const revision = await this.#deps.kv.update(key, this.#recordText(record), held.revision)
        this.#bucket.hold(key, { revision, value: { record } })
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
        this.#bucket.hold(key, {
          revision: await this.#deps.kv.create(key, this.#versionText(version)),
          value: { version },
        })
        return version
      } catch (error) {
        if (!isConflict(error)) throw error
      }
    }
  }

  async dropVersion(tenant: string, name: string, version: number): Promise<void> {
    const key = versionKey(tenant, name, version)
    await this.#deps.kv.purge(key)
    await this.#bucket.confirm(key)
  }

  /** @throws PlatformError NOT_FOUND */
  async delete(tenant: string, name: string): Promise<void> {
    const key = registryKey(tenant, name)
    const held = await this.#bucket.confirm(key)
    const record = held?.value?.record
    if (!held || !record) return this.#missing(tenant, name)
    const { nextVersion, versions } = record
    if (nextVersion > 1) await this.#deps.kv.put(tombstoneKey(tenant, name), String(nextVersion))
    await this.#deps.kv.delete(key, { previousSeq: held.revision }).catch((error: unknown) => {
      if (isConflict(error)) throw new PlatformError('ALREADY_EXISTS', `An update is in progress for ${name}`)
      throw error
    })
    await this.#bucket.confirm(key)
    for (const version of versions) await this.dropVersion(tenant, name, version)
  }

  #recordText(record: FunctionRecord): string {
    const { sealer, signer } = this.#deps
    return JSON.stringify(signer.sign(registryKey(record.tenant, record.name), sealRecord(sealer, record)))
  }

  #versionText(version: VersionConfig): string {
    const { sealer, signer } = this.#deps
    const key = versionKey(version.tenant, version.name, Number(version.version))
    return JSON.stringify(signer.sign(key, sealConfig(sealer, version)))
  }

  /** After a rotation, and once for entries of a time when nothing was sealed. */
  async #sealAnew(): Promise<void> {
    for (const { record, version } of [...this.#bucket.values()].filter(({ old }) => old)) {
      const { tenant, name } = record ?? version ?? { tenant: '', name: '' }
      const key = version ? versionKey(tenant, name, Number(version.version)) : registryKey(tenant, name)
      const held = await this.#bucket.confirm(key)
      const { record: now, version: same, old } = held?.value ?? {}
      if (!held || !old) continue
      const text = now ? this.#recordText(now) : same && this.#versionText(same)
      if (text === undefined) continue
      await this.#deps.kv.update(key, text, held.revision).catch((error: unknown) => {
        // Somebody else changed it, and sealed it with that.
        if (!isConflict(error)) throw error
      })
      await this.#bucket.confirm(key)
    }
  }

  #missing(tenant: string, name: string, qualifier?: string): never {
    throw new PlatformError(
      'NOT_FOUND',
      `Function not found: ${functionArn(this.#deps.region, tenant, name, qualifier)}`,
    )
  }
}
