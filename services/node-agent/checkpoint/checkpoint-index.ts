/**
 * Which manifest each checkpoint in a directory has, authenticated with a key that is not on that disk: derived from the keys that seal, which
 * an agent has from its configuration alone. So whoever can write where checkpoints lie makes none that is used, and puts no earlier one back:
 * there is one manifest for each, and it is the last that was made here.
 */
import { createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import type { SealingKeys } from '../../chassis/sealing.ts'
import { writeWhole } from '../../chassis/write-whole.ts'

const hex32 = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Stored = Type.Object(
  {
    /** SHA-256 of the manifest, by the checkpoint's key. */
    manifests: Type.Record(Type.String(), hex32),
    mac: hex32,
  },
  { additionalProperties: false },
)

/** The first authenticates; what any of them did is good. @param of whose checkpoints, and which: no index is good in another's place. */
export const indexKeys = (sealing: SealingKeys, of: string): KeyObject[] =>
  sealing.map(({ key }) =>
    createSecretKey(Buffer.from(hkdfSync('sha256', Buffer.from(key, 'hex'), '', `forkyard checkpoints ${of}`, 32))),
  )

const macOf = (key: KeyObject, manifests: ReadonlyMap<string, string>): Buffer =>
  createHmac('sha256', key)
    .update(JSON.stringify([...manifests].toSorted(([a], [b]) => (a < b ? -1 : 1))))
    .digest()

export class CheckpointIndex {
  readonly #path: string
  readonly #keys: readonly KeyObject[]
  readonly #manifests: Map<string, string>

  /** A file that is not this index's own counts as none, and `onForeign` is told why: every checkpoint is made anew then. */
  constructor(path: string, keys: readonly KeyObject[], onForeign: (error: unknown) => void) {
    this.#path = path
    this.#keys = keys
    this.#manifests = this.#read(onForeign)
  }

  /** SHA-256 of the checkpoint's manifest. Undefined: none was made here. */
  digest(key: string): string | undefined {
    return this.#manifests.get(key)
  }

  keys(): string[] {
    return [...this.#manifests.keys()]
  }

  /** On disk when it returns. A process that is killed between this and the checkpoint's own files has none. */
  set(key: string, digest: string): void {
    this.#manifests.set(key, digest)
    this.#write()
  }

  /** Idempotent. */
  delete(key: string): void {
    if (this.#manifests.delete(key)) this.#write()
  }

  #write(): void {
    const [key] = this.#keys
    if (!key) throw new Error('there is no key to authenticate with')
    const stored = { manifests: Object.fromEntries(this.#manifests), mac: macOf(key, this.#manifests).toString('hex') }
    writeWhole(this.#path, JSON.stringify(stored))
  }

  #read(onForeign: (error: unknown) => void): Map<string, string> {
    if (!existsSync(this.#path)) return new Map()
    try {
      const { manifests, mac } = Value.Parse(Stored, JSON.parse(readFileSync(this.#path, 'utf8')))
      const read = new Map(Object.entries(manifests))
      const found = Buffer.from(mac, 'hex')
      if (this.#keys.some((key) => timingSafeEqual(macOf(key, read), found))) return read
      throw new Error('it was not written here')
    } catch (error) {
      onForeign(error)
      return new Map()
    }
  }
}
