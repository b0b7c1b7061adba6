/** What functions may reach, as it lies in the store: taken only as a gateway of this installation wrote it, and never an earlier one again. */
import { Compile } from 'typebox/compile'
import { checkBindings, openBindings } from '../../chassis/sealed-bindings.ts'
import type { Sealer } from '../../chassis/sealing.ts'
import type { Verifier } from '../../chassis/signing.ts'
import type { BoundRecord } from '../../contracts/bindings.ts'
import { networkPlace, StoredNetworkPolicy, type NetworkPolicy } from '../../contracts/network.ts'
import { bindingsKey } from '../../contracts/subjects.ts'
import type { Serials } from './serials.ts'

export interface SignedRecordsDeps {
  readonly verifier: Verifier
  readonly sealer: Sealer
  readonly serials: Serials
}

const policySchema = Compile(StoredNetworkPolicy)
const suffix = bindingsKey('', '').slice(1)

export class SignedRecords {
  readonly #deps: SignedRecordsDeps

  constructor(deps: SignedRecordsDeps) {
    this.#deps = deps
  }

  /** @returns undefined for one that was taken away. @throws SignatureError, ReplayError, or when it is no record */
  policy(value: unknown, key: string): NetworkPolicy | undefined {
    const { verifier, serials } = this.#deps
    const { policy, serial } = verifier.check(networkPlace(key), policySchema.Parse(value))
    serials.accept(key, serial)
    return policy ?? undefined
  }

  /** @returns undefined for those that were taken away. @throws SignatureError, ReplayError, SealError, or when it is no record */
  bindings(value: unknown, key: string): BoundRecord | undefined {
    const { verifier, sealer, serials } = this.#deps
    const stored = checkBindings(verifier, value, key)
    serials.accept(key, stored.serial)
    return openBindings(sealer, stored, key)
  }

  /** Either, by its key. */
  read(value: unknown, key: string): NetworkPolicy | BoundRecord | undefined {
    return key.endsWith(suffix) ? this.bindings(value, key) : this.policy(value, key)
  }

  close(): void {
    this.#deps.serials.close()
  }
}
