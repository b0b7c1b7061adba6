/** Bindings as they lie in the store: sealed as a whole, because they hold credentials, and for exactly their function. */
import { Value } from 'typebox/value'
import { bindingsPlace, BoundRecord, StoredBindings } from '../contracts/bindings.ts'
import type { Sealer } from './sealing.ts'

export interface KnownBindings {
  readonly record: BoundRecord
  /** ISO 8601. */
  readonly lastModified: string
}

/** @param value of an entry. @throws when they are not those of this function, or cannot be opened */
export const openBindings = (sealer: Sealer, value: unknown, tenant: string, name: string): KnownBindings => {
  const { sealed, lastModified } = Value.Parse(StoredBindings, value)
  const record = Value.Parse(BoundRecord, JSON.parse(sealer.open(sealed, bindingsPlace(tenant, name))))
  return { record, lastModified }
}
