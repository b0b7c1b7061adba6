/** Tokens with which machines become nodes: made by operators, good once and for a while. Of a token the store has a hash. */
import { createHash, randomBytes } from 'node:crypto'
import type { KV, KvEntry } from '@nats-io/kv'
import { Value } from 'typebox/value'
import { equalSecrets } from '../../chassis/equal-secrets.ts'
import { isConflict } from '../../chassis/nats.ts'
import type { Signer } from '../../chassis/signing.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { JoinTokenRecord, type JoinRequest } from '../../contracts/joining.ts'
import { joinTokenKey } from '../../contracts/subjects.ts'

export interface TokenWish extends Pick<JoinTokenRecord, 'by' | 'pool' | 'labels'> {
  readonly ttlMs: number
}

export interface MadeToken {
  readonly tokenId: string
  readonly secret: string
  /** Epoch milliseconds. */
  readonly expiresAt: number
}

export interface JoinTokens {
  make(wish: TokenWish): Promise<MadeToken>
  /** @throws PlatformError FORBIDDEN for one that is used, expired or nobody's */
  check(shown: Pick<JoinRequest, 'tokenId' | 'secret'>): Promise<CheckedToken>
}

export interface CheckedToken {
  readonly record: JoinTokenRecord
  /** It is good no longer. @throws PlatformError FORBIDDEN when somebody else used it meanwhile */
  use(): Promise<void>
}

const refused = () => new PlatformError('FORBIDDEN', 'this token is used, expired, or none of this installation')

const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex')

export const createJoinTokens = (kv: KV, signer: Signer, now: () => number = Date.now): JoinTokens => {
  const read = (entry: KvEntry): JoinTokenRecord | undefined => {
    try {
      const record = Value.Parse(JoinTokenRecord, entry.json())
      signer.check(entry.key, record)
      return entry.key === joinTokenKey(record.tokenId) ? record : undefined
    } catch {
      return undefined
    }
  }
  /** Nobody uses those that are over, and nobody else takes them away. */
  const sweep = async (): Promise<void> => {
    const over: string[] = []
    for await (const entry of await kv.history({ key: joinTokenKey('*') }))
      if (entry.operation === 'PUT' && (read(entry)?.expiresAt ?? 0) <= now()) over.push(entry.key)
    for (const key of over) await kv.purge(key)
  }
  return {
    make: async ({ ttlMs, by, pool, labels }) => {
      await sweep()
      const [tokenId, secret] = [randomBytes(8).toString('hex'), randomBytes(32).toString('hex')]
      const expiresAt = now() + ttlMs
      const key = joinTokenKey(tokenId)
      const record: JoinTokenRecord = { tokenId, secretHash: hashOf(secret), expiresAt, by, pool, labels }
      await kv.create(key, JSON.stringify(signer.sign(key, record)))
      return { tokenId, secret, expiresAt }
    },
    check: async ({ tokenId, secret }) => {
      const entry = await kv.get(joinTokenKey(tokenId))
      const record = entry?.operation === 'PUT' ? read(entry) : undefined
      if (!entry || !record || record.expiresAt <= now()) throw refused()
      if (!equalSecrets(hashOf(secret), record.secretHash)) throw refused()
      return {
        record,
        use: async () => {
          try {
            await kv.delete(entry.key, { previousSeq: entry.revision })
          } catch (error) {
            throw isConflict(error) ? refused() : error
          }
        },
      }
    },
  }
}
