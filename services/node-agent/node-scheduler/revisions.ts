/** Configuration of revisions, read from the registry. A revision never changes, so what was read once stays valid. */
import type { KV } from '@nats-io/kv'
import { Value } from 'typebox/value'
import { readAgain } from '../../chassis/read-again.ts'
import { openConfig } from '../../chassis/sealed-config.ts'
import type { Sealer } from '../../chassis/sealing.ts'
import { SignatureError, type Signed, type Verifier } from '../../chassis/signing.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { FunctionRecord, latest, VersionConfig } from '../../contracts/function.ts'
import { revisionKey, type RevisionRef } from '../../contracts/placement.ts'
import { registryKey, versionKey } from '../../contracts/subjects.ts'

const cacheSize = 10_000

export class Revisions {
  readonly #kv: KV
  readonly #verifier: Verifier
  readonly #sealer: Sealer
  readonly #known = new Map<string, VersionConfig>()

  constructor(kv: KV, verifier: Verifier, sealer: Sealer) {
    this.#kv = kv
    this.#verifier = verifier
    this.#sealer = sealer
  }

  /** @throws PlatformError NO_INSTANCE when the registry has a newer revision by now: the caller resolves the function again; CODE_CORRUPT; UNAVAILABLE. */
  async config(ref: RevisionRef): Promise<VersionConfig> {
    const key = revisionKey(ref)
    const known = this.#known.get(key)
    if (known) return known
    const stored = await this.#read(ref)
    if (stored?.revisionId !== ref.revisionId)
      throw new PlatformError('NO_INSTANCE', `revision ${ref.revisionId} of ${ref.name} is not current`)
    const config = openConfig(this.#sealer, stored)
    this.#known.set(key, config)
    const [oldest] = this.#known.keys()
    if (this.#known.size > cacheSize && oldest) this.#known.delete(oldest)
    return config
  }

  /** False when the registry has a newer revision of this version, or none any more. */
  async isCurrent(ref: RevisionRef): Promise<boolean> {
    return (await this.#read(ref))?.revisionId === ref.revisionId
  }

  async #read(ref: RevisionRef): Promise<VersionConfig | undefined> {
    if (ref.version === latest) {
      const key = registryKey(ref.tenant, ref.name)
      const record = await this.#get(key)
      return record === undefined ? undefined : this.#signed(key, Value.Parse(FunctionRecord, record)).latest
    }
    const key = versionKey(ref.tenant, ref.name, Number(ref.version))
    const version = await this.#get(key)
    return version === undefined ? undefined : this.#signed(key, Value.Parse(VersionConfig, version))
  }

  /** @throws PlatformError CODE_CORRUPT for what no gateway of this installation has written */
  #signed<T extends Signed>(key: string, entry: T): Omit<T, 'signature'> {
    try {
      return this.#verifier.check(key, entry)
    } catch (error) {
      if (!(error instanceof SignatureError)) throw error
      throw new PlatformError('CODE_CORRUPT', error.message, undefined, { cause: error })
    }
  }

  async #get(key: string): Promise<unknown> {
    const entry = await readAgain('the registry', () => this.#kv.get(key))
    return entry?.operation === 'PUT' ? entry.json() : undefined
  }
}
