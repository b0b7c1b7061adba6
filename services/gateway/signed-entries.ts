/**
 * Entries of functions in the bucket `network`, signed, each with a number that only grows. What is taken away leaves a signed entry that
 * says so: an earlier one, put back there, is known by its lower number. Nodes follow the bucket; gateways read it when they are asked.
 */
import type { KV, KvEntry } from '@nats-io/kv'
import { isConflict } from '../chassis/nats.ts'
import type { Signed, Signer } from '../chassis/signing.ts'
import { PlatformError } from '../contracts/errors.ts'
import { networkPlace } from '../contracts/network.ts'

export interface SignedEntryDeps {
  readonly kv: KV
  readonly signer: Signer
  /** Takes what has no signature for good (`registry.ts`). */
  readonly adoptUnsigned: boolean
}

interface Numbered {
  readonly serial: number
}

/** What the entries are. `T` is one as it lies in the bucket, without its signature. */
export interface EntryKind<T extends Numbered> {
  /** In errors: 'the network policy'. */
  readonly what: string
  /** Of their keys, as NATS filters subjects. */
  readonly filter: string
  /** @throws when the value is no such entry */
  readonly parse: (value: unknown) => T & Signed
  /** One from a version that neither signed nor counted; undefined for anything else. */
  readonly adopt: (value: unknown) => Omit<T, 'serial'> | undefined
  readonly isGone: (entry: T) => boolean
  /** What says that it was taken away. @param lastModified ISO 8601 */
  readonly gone: (lastModified: string) => Omit<T, 'serial'>
  /** The same under the keys of now, after a rotation; undefined when it is. */
  readonly renewed?: (entry: T, key: string) => T | undefined
}

/** `foreign`: what lies there no gateway of this installation wrote. */
export type Before<T> = T | 'foreign' | undefined

export interface SignedEntries<T extends Numbered> {
  /** @throws SignatureError for one that no gateway of this installation wrote */
  get(key: string): Promise<T | undefined>
  /** @param next undefined: it may stay as it is. Called again when somebody else was faster. */
  change(key: string, next: (before: Before<T>) => Omit<T, 'serial'> | undefined): Promise<void>
  /** Leaves an entry that says so. Idempotent. */
  remove(key: string): Promise<void>
  /** After a rotation of keys, and with `adoptUnsigned` once: for all that there are. @returns how many */
  signAnew(): Promise<number>
}

const casAttempts = 20

export const createSignedEntries = <T extends Numbered>(
  { kv, signer, adoptUnsigned }: SignedEntryDeps,
  { what, filter, parse, adopt, isGone, gone, renewed }: EntryKind<T>,
): SignedEntries<T> => {
  const read = (entry: KvEntry): T => {
    const value: unknown = entry.json()
    const adopted = adoptUnsigned ? adopt(value) : undefined
    return (adopted ? { ...adopted, serial: 0 } : signer.check(networkPlace(entry.key), parse(value))) as T
  }
  const tryRead = (entry: KvEntry): T | 'foreign' => {
    try {
      return read(entry)
    } catch {
      return 'foreign'
    }
  }
  const write = async (entry: KvEntry | null, key: string, content: T): Promise<void> => {
    const text = JSON.stringify(signer.sign(networkPlace(key), content))
    await (entry?.operation === 'PUT' ? kv.update(key, text, entry.revision) : kv.create(key, text))
  }
  const change: SignedEntries<T>['change'] = async (key, next) => {
    for (let attempt = 1; attempt <= casAttempts; attempt++) {
      const entry = await kv.get(key)
      // What somebody else wrote there is overwritten, and counts for nothing.
      const before = entry?.operation === 'PUT' ? tryRead(entry) : undefined
      const content = next(before)
      if (!content) return
      const serial = Math.max(Date.now(), typeof before === 'object' ? before.serial + 1 : 0)
      try {
        return await write(entry, key, { ...content, serial } as T)
      } catch (error) {
        if (!isConflict(error)) throw error
      }
    }
    throw new PlatformError('ALREADY_EXISTS', `An update is in progress for ${what} ${key}`)
  }
  return {
    get: async (key) => {
      const entry = await kv.get(key)
      return entry?.operation === 'PUT' ? read(entry) : undefined
    },
    change,
    remove: (key) =>
      change(key, (before) =>
        before === undefined || (before !== 'foreign' && isGone(before)) ? undefined : gone(new Date().toISOString()),
      ),
    signAnew: async () => {
      let signed = 0
      for await (const entry of await kv.history({ key: filter })) {
        if (entry.operation !== 'PUT') continue
        const known = tryRead(entry)
        // What is nobody's stays refused.
        if (known === 'foreign') continue
        const anew = renewed?.(known, entry.key)
        if (!anew && !signer.isOld(entry.json())) continue
        try {
          await write(entry, entry.key, anew ?? known)
          signed++
        } catch (error) {
          // Somebody else changed it, and signed it with that.
          if (!isConflict(error)) throw error
        }
      }
      return signed
    },
  }
}
