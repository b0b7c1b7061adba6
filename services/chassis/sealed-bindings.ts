/**
 * Bindings as they lie in the store: sealed as a whole, because they hold credentials, and signed by a gateway with a number, because the
 * key that seals is the nodes' too; both for exactly their function.
 */
import { Compile } from 'typebox/compile'
import { bindingsPlace, BoundRecord, StoredBindings } from '../contracts/bindings.ts'
import { networkPlace } from '../contracts/network.ts'
import type { Sealer } from './sealing.ts'
import type { Verifier } from './signing.ts'

export interface KnownBindings {
  readonly record: BoundRecord
  /** ISO 8601. */
  readonly lastModified: string
}

const storedSchema = Compile(StoredBindings)
const boundSchema = Compile(BoundRecord)

/** @returns what is signed of an entry. @throws SignatureError; or when it is no entry of bindings */
export const checkBindings = (verifier: Verifier, value: unknown, key: string): Omit<StoredBindings, 'signature'> =>
  verifier.check(networkPlace(key), storedSchema.Parse(value))

/** @returns undefined where they were taken away. @throws SealError when they are not those of this function, or cannot be opened */
export const openBindings = (
  sealer: Sealer,
  { sealed }: Pick<StoredBindings, 'sealed'>,
  key: string,
): BoundRecord | undefined =>
  sealed === null ? undefined : boundSchema.Parse(JSON.parse(sealer.open(sealed, bindingsPlace(...ownerOf(key)))))

/** Tenant and name in a key of bindings. */
export const ownerOf = (key: string): [string, string] => {
  const [tenant = '', name = ''] = key.split('.')
  return [tenant, name]
}
