/** A function's network is what its policy says and what its bindings open: the node's proxy, a subnet, the internet, and nothing else. */
import type { NetworkPolicy } from '../../contracts/network.ts'
import type { BoundRecord } from '../../contracts/bindings.ts'
import type { BoundFunctions } from './bound-functions.ts'

export class EffectivePolicies {
  readonly #bound: BoundFunctions
  readonly #apply: (key: string, policy: NetworkPolicy | undefined) => void
  readonly #policies = new Map<string, NetworkPolicy>()

  constructor(bound: BoundFunctions, apply: (key: string, policy: NetworkPolicy | undefined) => void) {
    this.#bound = bound
    this.#apply = apply
  }

  policy(key: string, policy: NetworkPolicy | undefined): void {
    if (policy) this.#policies.set(key, policy)
    else this.#policies.delete(key)
    this.#changed(key)
  }

  bindings(key: string, record: BoundRecord | undefined): void {
    this.#bound.set(key, record)
    this.#changed(key)
  }

  #changed(key: string): void {
    const policy = this.#policies.get(key)
    const opened = this.#bound.opened(key)
    if (opened.rules.length === 0) return this.#apply(key, policy)
    const dns = [...(policy?.dns ?? []), ...opened.dns]
    this.#apply(key, {
      ...policy,
      rules: [...(policy?.rules ?? []), ...opened.rules],
      ...(dns.length > 0 ? { dns } : {}),
    })
  }
}
