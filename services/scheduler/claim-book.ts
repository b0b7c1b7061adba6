/**
 * What gateways told of claims. All of them know the same registry, so what was told last holds, whoever told it. What only gateways told that are gone
 * now stays until another has told all that it knows: a restart of the gateways takes nothing from anybody.
 */
import type { FunctionClaim } from '../contracts/claims.ts'
import { functionKey } from './pool.ts'

interface Told {
  readonly claim: FunctionClaim
  readonly text: string
  /** Gateways that told it and are there. */
  readonly by: Set<Teller>
}

/** One gateway's connection. */
export type Teller = object

export class ClaimBook {
  readonly #told = new Map<string, Told>()
  readonly #changed: (claim: FunctionClaim) => void
  #complete = false

  /** @param changed is told of each function whose claim is another now */
  constructor(changed: (claim: FunctionClaim) => void) {
    this.#changed = changed
  }

  /** Some gateway has told all claims. */
  get isComplete(): boolean {
    return this.#complete
  }

  tell(by: Teller, claim: FunctionClaim): void {
    const key = functionKey(claim.needs.revision)
    const known = this.#told.get(key)
    if (isEmpty(claim)) {
      if (!this.#told.delete(key)) return
      return this.#changed(claim)
    }
    const text = JSON.stringify(claim)
    if (known?.text === text) return void known.by.add(by)
    this.#told.set(key, { claim, text, by: new Set([...(known?.by ?? []), by]) })
    this.#changed(claim)
  }

  /** The gateway has told all that it knows. */
  toldAll(): void {
    this.#complete = true
    for (const [key, { by, claim }] of this.#told) {
      if (by.size > 0) continue
      this.#told.delete(key)
      const { reservedConcurrency: _gone, ...rest } = claim
      this.#changed({ ...rest, provisioned: [] })
    }
  }

  /** The gateway is gone. */
  gone(by: Teller): void {
    for (const told of this.#told.values()) told.by.delete(by)
  }
}

const isEmpty = ({ reservedConcurrency = 0, provisioned }: FunctionClaim): boolean =>
  reservedConcurrency === 0 && provisioned.length === 0
