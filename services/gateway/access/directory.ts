/**
 * Principals and their access keys: in memory, kept fresh by a watch, as the function registry is. A key that is revoked, or a role
 * that is taken away, is gone on every gateway as soon as the watch tells (at the latest with the next full pass).
 */
import { randomBytes, randomUUID } from 'node:crypto'
import type { KvEntry } from '@nats-io/kv'
import { Compile } from 'typebox/compile'
import type { Sealer } from '../../chassis/sealing.ts'
import type { Signer } from '../../chassis/signing.ts'
import { AccessKeyRecord, Principal, rootPrincipal, type Role } from '../../contracts/access.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { accountIdOf } from '../../contracts/function.ts'
import { accessKeyKey, principalKey } from '../../contracts/subjects.ts'
import type { Account } from '../config.ts'
import type { AccessKey } from '../sigv4.ts'
import { isConflict } from '../../chassis/nats.ts'
import { WatchedBucket, type BucketDeps } from '../../chassis/watched-bucket.ts'

/** One of the two. */
interface Entry {
  readonly principal?: Principal
  readonly key?: HeldKey
  /** As it lies in the bucket, it is to be sealed and signed anew. */
  readonly old?: boolean
}

interface HeldKey {
  readonly record: AccessKeyRecord
  readonly secretAccessKey: string
}

export interface DirectoryDeps extends BucketDeps {
  readonly sealer: Sealer
  readonly signer: Signer
  /** The stack's own keys. They are in no bucket, so that they work whatever happens to it. */
  readonly accounts: readonly Account[]
}

export interface KeyChange {
  readonly status?: AccessKeyRecord['status'] | undefined
  /** null: never. */
  readonly expiresAt?: string | null | undefined
}

const principalSchema = Compile(Principal)
const keySchema = Compile(AccessKeyRecord)
const rootRoles: readonly Role[] = ['admin', 'operator']

const readEntry = (entry: KvEntry, { sealer, signer, logger }: DirectoryDeps): Entry | undefined => {
  const value: unknown = entry.json()
  try {
    if (principalSchema.Check(value)) return { principal: signer.check(entry.key, value), old: signer.isOld(value) }
    if (keySchema.Check(value)) {
      const record = signer.check(entry.key, value)
      const key = { record, secretAccessKey: sealer.open(record.sealedSecret, entry.key) }
      return { key, old: signer.isOld(value) || sealer.isOld(record.sealedSecret) }
    }
    logger.error({ key: entry.key }, 'access: an entry does not fit the schema')
  } catch (err) {
    // Refused as if it were not there.
    logger.error({ err, key: entry.key }, 'access: an entry is not the installation’s own, or cannot be opened')
  }
  return undefined
}

export class AccessDirectory {
  readonly #deps: DirectoryDeps
  readonly #bucket: WatchedBucket<Entry>

  constructor(deps: DirectoryDeps) {
    this.#deps = deps
    this.#bucket = new WatchedBucket(deps, {
      name: 'access',
      read: (entry) => readEntry(entry, deps),
      synced: () =>
        void this.#sealAnew().catch((err: unknown) => deps.logger.error({ err }, 'access: keys stay sealed as before')),
    })
  }

  get synced(): boolean {
    return this.#bucket.synced
  }

  /** See `WatchedBucket.start`. */
  start(): void {
    this.#bucket.start()
  }

  close(): void {
    this.#bucket.close()
  }

  /** A key that is in force; whether it has expired is for the caller to see. */
  get(accessKeyId: string): AccessKey | undefined {
    const own = this.#deps.accounts.find((account) => account.accessKeyId === accessKeyId)
    if (own) return { ...own, principal: rootPrincipal, roles: rootRoles }
    const key = this.#bucket.get(accessKeyKey(accessKeyId))?.key
    if (!key || key.record.status !== 'Active') return undefined
    const { tenant, principal: name, principalId, expiresAt } = key.record
    const principal = this.#principal(tenant, name)
    if (principal?.principalId !== principalId) return undefined
    return {
      accessKeyId,
      secretAccessKey: key.secretAccessKey,
      tenant,
      principal: name,
      roles: principal.roles,
      ...(expiresAt === undefined ? {} : { expiresAt: Date.parse(expiresAt) }),
    }
  }

  /** Ascending. */
  tenants(): string[] {
    const names = this.#deps.accounts.map(({ tenant }) => tenant)
    for (const { principal } of this.#bucket.values()) if (principal) names.push(principal.tenant)
    return [...new Set(names)].toSorted()
  }

  tenantOf(account: string): string | undefined {
    return this.tenants().find((tenant) => accountIdOf(tenant) === account)
  }

  /** Ascending by name. */
  principals(tenant: string): Principal[] {
    const found: Principal[] = []
    for (const { principal } of this.#bucket.values()) if (principal?.tenant === tenant) found.push(principal)
    return found.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** @throws PlatformError NOT_FOUND */
  requirePrincipal(tenant: string, name: string): Principal {
    const principal = this.#principal(tenant, name)
    if (principal) return principal
    throw new PlatformError('NOT_FOUND', `Tenant ${tenant} has no principal ${name}`)
  }

  /** Makes it, or gives it other roles. @throws PlatformError INVALID_REQUEST, ALREADY_EXISTS when another writer was faster. */
  async putPrincipal(tenant: string, name: string, roles: readonly Role[]): Promise<Principal> {
    if (name === rootPrincipal) throw new PlatformError('INVALID_REQUEST', `'${rootPrincipal}' is the stack’s own`)
    const other = this.tenantOf(accountIdOf(tenant))
    if (other !== undefined && other !== tenant)
      throw new PlatformError('INVALID_REQUEST', `'${tenant}' would have the account number of tenant '${other}'`)
    const key = principalKey(tenant, name)
    const held = await this.#bucket.confirm(key)
    const before = held?.value?.principal
    const identity = before ?? { principalId: randomUUID(), createdAt: new Date().toISOString() }
    const principal: Principal = { ...identity, tenant, name, roles: [...roles] }
    const { kv, signer } = this.#deps
    const text = JSON.stringify(signer.sign(key, principal))
    const revision = await (before && held ? kv.update(key, text, held.revision) : kv.create(key, text)).catch(conflict)
    this.#bucket.hold(key, { revision, value: { principal } })
    return principal
  }

  /** With its keys. @throws PlatformError NOT_FOUND */
  async deletePrincipal(tenant: string, name: string): Promise<void> {
    await this.#bucket.confirm(principalKey(tenant, name))
    this.requirePrincipal(tenant, name)
    const keys = this.keysOf(tenant, name)
    // First what all of them stand on.
    await this.#remove(principalKey(tenant, name))
    for (const { accessKeyId } of keys) await this.#remove(accessKeyKey(accessKeyId))
  }

  /** Oldest first. */
  keysOf(tenant: string, principal: string): AccessKeyRecord[] {
    const found: AccessKeyRecord[] = []
    for (const { key } of this.#bucket.values())
      if (key?.record.tenant === tenant && key.record.principal === principal) found.push(key.record)
    return found.toSorted((a, b) => (a.createdAt < b.createdAt ? -1 : 1))
  }

  /** @returns the only time that the secret is told. @throws PlatformError NOT_FOUND */
  async createKey(tenant: string, name: string, expiresAt: string | undefined): Promise<HeldKey> {
    await this.#bucket.confirm(principalKey(tenant, name))
    const { principalId } = this.requirePrincipal(tenant, name)
    const accessKeyId = `FYIA${randomBytes(8).toString('hex').toUpperCase()}`
    const secretAccessKey = randomBytes(30).toString('base64url')
    const key = accessKeyKey(accessKeyId)
    const record: AccessKeyRecord = {
      accessKeyId,
      tenant,
      principal: name,
      principalId,
      status: 'Active',
      createdAt: new Date().toISOString(),
      ...(expiresAt === undefined ? {} : { expiresAt }),
      sealedSecret: this.#deps.sealer.seal(secretAccessKey, key),
    }
    const revision = await this.#deps.kv.create(key, this.#keyText(record))
    const value = { key: { record, secretAccessKey } }
    this.#bucket.hold(key, { revision, value })
    return value.key
  }

  /** @throws PlatformError NOT_FOUND, ALREADY_EXISTS when another writer was faster. */
  async updateKey(tenant: string, principal: string, accessKeyId: string, change: KeyChange): Promise<AccessKeyRecord> {
    const key = accessKeyKey(accessKeyId)
    const { held, revision } = await this.#requireKey(tenant, principal, accessKeyId)
    const { expiresAt: expiredAt, ...rest } = held.record
    const expiresAt = change.expiresAt === undefined ? expiredAt : (change.expiresAt ?? undefined)
    const status = change.status ?? rest.status
    const record: AccessKeyRecord = { ...rest, status, ...(expiresAt === undefined ? {} : { expiresAt }) }
    const written = await this.#deps.kv.update(key, this.#keyText(record), revision).catch(conflict)
    this.#bucket.hold(key, { revision: written, value: { key: { ...held, record } } })
    return record
  }

  /** @throws PlatformError NOT_FOUND */
  async deleteKey(tenant: string, principal: string, accessKeyId: string): Promise<void> {
    await this.#requireKey(tenant, principal, accessKeyId)
    await this.#remove(accessKeyKey(accessKeyId))
  }

  /** After a rotation: seals and signs anew what the keys before did, so that these may go with the next one. */
  async #sealAnew(): Promise<void> {
    const { sealer, signer, kv } = this.#deps
    for (const { principal, key } of [...this.#bucket.values()].filter(({ old }) => old)) {
      const place = principal
        ? principalKey(principal.tenant, principal.name)
        : accessKeyKey(key?.record.accessKeyId ?? '')
      const held = await this.#bucket.confirm(place)
      const { principal: now, key: same, old } = held?.value ?? {}
      if (!held || !old) continue
      const sealed = same && { ...same.record, sealedSecret: sealer.seal(same.secretAccessKey, place) }
      await kv
        .update(place, JSON.stringify(signer.sign(place, now ?? sealed ?? {})), held.revision)
        .catch((error: unknown) => {
          // Another gateway does the same.
          if (!isConflict(error)) throw error
        })
      await this.#bucket.confirm(place)
    }
  }

  #keyText(record: AccessKeyRecord): string {
    return JSON.stringify(this.#deps.signer.sign(accessKeyKey(record.accessKeyId), record))
  }

  #principal(tenant: string, name: string): Principal | undefined {
    return this.#bucket.get(principalKey(tenant, name))?.principal
  }

  async #requireKey(
    tenant: string,
    principal: string,
    accessKeyId: string,
  ): Promise<{ held: HeldKey; revision: number }> {
    const entry = await this.#bucket.confirm(accessKeyKey(accessKeyId))
    const held = entry?.value?.key
    if (entry && held?.record.tenant === tenant && held.record.principal === principal)
      return { held, revision: entry.revision }
    throw new PlatformError('NOT_FOUND', `Principal ${principal} of tenant ${tenant} has no access key ${accessKeyId}`)
  }

  async #remove(key: string): Promise<void> {
    await this.#deps.kv.purge(key)
    await this.#bucket.confirm(key)
  }
}

const conflict = (error: unknown): never => {
  if (isConflict(error)) throw new PlatformError('ALREADY_EXISTS', 'Somebody else has changed it at the same time')
  throw error
}
