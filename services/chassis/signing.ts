/**
 * Entries of the store that must come from a gateway of this installation: signed with its Ed25519 key, which is in no store. Whoever can
 * write to NATS or to its disk changes no digest, no role and no policy that way.
 *
 * Signed is the entry with the key under which it lies, so that one is no good in another's place. `ed1.<key id>.<signature>`.
 */
import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { Type, type Static } from 'typebox'

const hex32 = Type.String({ pattern: '^[0-9a-f]{64}$' })
const keyId = Type.String({ pattern: '^[a-z0-9-]{1,32}$' })

/** The first signs; the signatures of all are good. */
export const SigningKeys = Type.Array(Type.Object({ id: keyId, seed: hex32 }, { additionalProperties: false }), {
  minItems: 1,
})
export type SigningKeys = Static<typeof SigningKeys>

/** The public halves. */
export const VerifyingKeys = Type.Array(Type.Object({ id: keyId, key: hex32 }, { additionalProperties: false }), {
  minItems: 1,
})
export type VerifyingKeys = Static<typeof VerifyingKeys>

/** An entry was not signed by this installation, or not like this, or not for this place. */
export class SignatureError extends Error {
  override readonly name = 'SignatureError'
}

export interface Signed {
  readonly signature?: string | undefined
}

export interface Verifier {
  /** @param place key of the entry. @returns it without its signature. @throws SignatureError */
  check<T extends Signed>(place: string, entry: T): Omit<T, 'signature'>
}

export interface Signer extends Verifier {
  sign<T extends object>(place: string, entry: T): T & { signature: string }
  /** Signed with a key that no longer signs. */
  isOld(entry: Signed): boolean
}

/** Before the raw 32 bytes of a key: what PKCS #8 and SPKI have around them. */
const privatePrefix = '302e020100300506032b657004220420'
const publicPrefix = '302a300506032b6570032100'

/** @param seed 32 bytes, hex */
export const privateKeyOf = (seed: string): KeyObject =>
  createPrivateKey({ key: Buffer.from(privatePrefix + seed, 'hex'), format: 'der', type: 'pkcs8' })

const publicKey = (key: string): KeyObject =>
  createPublicKey({ key: Buffer.from(publicPrefix + key, 'hex'), format: 'der', type: 'spki' })

/** @param seed 32 bytes, hex. @returns the public key, raw, hex */
export const publicKeyOf = (seed: string): string =>
  createPublicKey(privateKeyOf(seed)).export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex')

/** The same for equal entries, in whatever order their members are. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  )

const messageOf = (place: string, entry: object): Buffer => Buffer.from(`${place}\n${canonical(entry)}`)

export const createVerifier = (keys: VerifyingKeys): Verifier => {
  const byId = new Map(keys.map(({ id, key }) => [id, publicKey(key)]))
  return {
    check: (place, { signature, ...entry }) => {
      const [format, id = '', text = ''] = signature?.split('.') ?? []
      const key = byId.get(id)
      if (format !== 'ed1' || !key) throw new SignatureError(`${place} is not signed by this installation`)
      if (!verify(null, messageOf(place, entry), key, Buffer.from(text, 'base64url')))
        throw new SignatureError(`${place} is not what this installation signed`)
      return entry
    },
  }
}

export const createSigner = (keys: SigningKeys): Signer => {
  const current = keys[0]
  if (!current) throw new SignatureError('there is no key to sign with')
  const key = privateKeyOf(current.seed)
  return {
    ...createVerifier(keys.map(({ id, seed }) => ({ id, key: publicKeyOf(seed) }))),
    sign: (place, entry) => {
      const text = sign(null, messageOf(place, entry), key).toString('base64url')
      return { ...entry, signature: `ed1.${current.id}.${text}` }
    },
    isOld: ({ signature }) => signature?.split('.')[1] !== current.id,
  }
}
