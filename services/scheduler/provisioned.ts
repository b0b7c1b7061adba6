/** Versions of which instances are kept without a request: how many, as gateways told. */
import type { ProvisionedClaim } from '../contracts/claims.ts'
import { revisionKey, type RevisionRef } from '../contracts/placement.ts'
import { functionKey } from './pool.ts'

/** What placement reads. */
export interface ProvisionedView {
  /** Of the function, all its versions. */
  ofFunction(revision: Pick<RevisionRef, 'tenant' | 'name'>): readonly ProvisionedClaim[]
  /** Invocations of the revision that have instances of their own. */
  concurrencyOf(revision: RevisionRef): number
  /** Instances that are kept of the revision. */
  wantedOf(revision: RevisionRef): number
  all(): Iterable<ProvisionedClaim>
}

const none: readonly ProvisionedClaim[] = []

export const instancesFor = (concurrency: number, perInstance: number): number => Math.ceil(concurrency / perInstance)

export class Provisioned implements ProvisionedView {
  readonly #byFunction = new Map<string, readonly ProvisionedClaim[]>()
  readonly #byRevision = new Map<string, ProvisionedClaim>()

  set(of: Pick<RevisionRef, 'tenant' | 'name'>, claims: readonly ProvisionedClaim[]): void {
    const key = functionKey(of)
    for (const { needs } of this.ofFunction(of)) this.#byRevision.delete(revisionKey(needs.revision))
    if (claims.length === 0) this.#byFunction.delete(key)
    else this.#byFunction.set(key, claims)
    for (const claim of claims) this.#byRevision.set(revisionKey(claim.needs.revision), claim)
  }

  all(): Iterable<ProvisionedClaim> {
    return this.#byRevision.values()
  }

  ofFunction(revision: Pick<RevisionRef, 'tenant' | 'name'>): readonly ProvisionedClaim[] {
    return this.#byFunction.size === 0 ? none : (this.#byFunction.get(functionKey(revision)) ?? none)
  }

  concurrencyOf(revision: RevisionRef): number {
    return this.#claim(revision)?.concurrency ?? 0
  }

  wantedOf(revision: RevisionRef): number {
    const claim = this.#claim(revision)
    return claim ? instancesFor(claim.concurrency, claim.needs.policy.concurrency) : 0
  }

  #claim(revision: RevisionRef): ProvisionedClaim | undefined {
    return this.#byRevision.size === 0 ? undefined : this.#byRevision.get(revisionKey(revision))
  }
}
