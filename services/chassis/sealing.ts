/**
 * Secrets at rest: AES-256-GCM under a key of the installation, which is in no store and no backup of one.
 *
 * Sealed text is `fy1.<key id>.<nonce>.<ciphertext and tag>`. Each is bound to the place it was sealed for, so that whoever can write
 * to the store cannot put one secret in another's place.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { Type, type Static } from 'typebox'

/** The first seals; all of them open. */
export const SealingKeys = Type.Array(
  Type.Object(
    { id: Type.String({ pattern: '^[a-z0-9-]{1,32}$' }), key: Type.String({ pattern: '^[0-9a-f]{64}$' }) },
    { additionalProperties: false },
  ),
  { minItems: 1 },
)
export type SealingKeys = Static<typeof SealingKeys>

/** What was sealed cannot be opened: the key is not there, or text or place are not those that were sealed. */
export class SealError extends Error {
  override readonly name = 'SealError'
}

export interface Sealer {
  /** @param place what the secret belongs to, as `key.<accessKeyId>`; the same is needed to open it. */
  seal(text: string, place: string): string
  /** @throws SealError */
  open(sealed: string, place: string): string
  /** Sealed under a key that no longer seals. */
  isOld(sealed: string): boolean
}

const nonceBytes = 12
const tagBytes = 16

export const createSealer = (keys: SealingKeys): Sealer => {
  const byId = new Map(keys.map(({ id, key }) => [id, Buffer.from(key, 'hex')]))
  const current = keys[0]
  if (!current) throw new SealError('there is no key to seal with')
  return {
    seal: (text, place) => {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', Buffer.from(current.key, 'hex'), nonce).setAAD(Buffer.from(place))
      const bytes = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `fy1.${current.id}.${nonce.toString('base64url')}.${bytes.toString('base64url')}`
    },
    open: (sealed, place) => {
      const [format, id = '', nonce = '', body = ''] = sealed.split('.')
      const key = byId.get(id)
      if (format !== 'fy1' || !key) throw new SealError(`sealed with key '${id}', which is not one of the installation`)
      const bytes = Buffer.from(body, 'base64url')
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64url'))
          .setAAD(Buffer.from(place))
          .setAuthTag(bytes.subarray(-tagBytes))
        return decipher.update(bytes.subarray(0, -tagBytes), undefined, 'utf8') + decipher.final('utf8')
      } catch (error) {
        throw new SealError('the sealed text was changed, or belongs elsewhere', { cause: error })
      }
    },
    isOld: (sealed) => sealed.split('.')[1] !== current.id,
  }
}
