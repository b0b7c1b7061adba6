/** Which pool of nodes a function runs in: what it chose, if it may, or what the rules say. Pure. */
import type { PlacementRequest, RevisionRef } from './placement.ts'
import { defaultPool, type ResourcePool } from './resource-pool.ts'

export interface Assigned extends Pick<PlacementRequest, 'runtime' | 'memoryMiB' | 'policy'> {
  readonly revision: Pick<RevisionRef, 'tenant'>
}

/** @returns nothing where no pool is open to the function; `whyNoPool` says why */
export const poolFor = (rules: readonly ResourcePool[], asked: Assigned): string | undefined => {
  const chosen = asked.policy.pool
  if (rules.length === 0) return chosen ?? defaultPool
  if (chosen !== undefined) {
    const rule = rules.find(({ name }) => name === chosen)
    return rule && objection(rule, asked) !== undefined ? undefined : chosen
  }
  const rule = rules.find((each) => !each.onlyChosen && objection(each, asked) === undefined)
  if (rule) return rule.name
  // A pool without a rule is for everybody.
  return rules.some(({ name }) => name === defaultPool) ? undefined : defaultPool
}

export const whyNoPool = (rules: readonly ResourcePool[], asked: Assigned): string => {
  const chosen = rules.find(({ name }) => name === asked.policy.pool)
  if (chosen) return `the pool ${chosen.name} is not for this function: ${objection(chosen, asked)}`
  return `no pool is for functions of tenant ${asked.revision.tenant} with ${asked.runtime} and ${asked.memoryMiB} MiB`
}

/** Why the pool is not for the function. */
const objection = (
  { tenants, runtimes, minMemoryMiB = 0, maxMemoryMiB = Infinity }: ResourcePool,
  { revision: { tenant }, runtime, memoryMiB }: Assigned,
): string | undefined => {
  if (tenants && !tenants.includes(tenant)) return 'it belongs to other tenants'
  if (runtimes && !runtimes.includes(runtime)) return `it is for ${runtimes.join(', ')}`
  if (memoryMiB < minMemoryMiB) return `it is for functions from ${minMemoryMiB} MiB on`
  if (memoryMiB > maxMemoryMiB) return `it is for functions up to ${maxMemoryMiB} MiB`
  return undefined
}
