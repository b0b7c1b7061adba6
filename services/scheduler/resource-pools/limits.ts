/** What a tenant or a function may hold in a pool at most. Pure. */
import type { RevisionRef } from '../../contracts/placement.ts'
import type { ResourcePool } from '../../contracts/resource-pool.ts'
import type { Instance } from '../pool.ts'
import type { Amount, UsageView } from './usage.ts'

type Limit = Partial<Amount>

export interface Excess {
  readonly limit: 'tenantLimit' | 'functionLimit'
  readonly reason: string
  /** What has to end before one more instance fits. */
  readonly over: Amount
  readonly counts: (instance: Instance) => boolean
}

/** @returns the limits that one more instance of the function would break */
export const excesses = (
  rule: ResourcePool | undefined,
  usage: UsageView,
  revision: RevisionRef,
  memoryMiB: number,
): Excess[] => {
  if (!rule?.functionLimit && !rule?.tenantLimit) return []
  const { name: pool, tenantLimit, functionLimit } = rule
  const { tenant, name } = revision
  return [
    ...excess('functionLimit', pool, `the function ${name}`, functionLimit, memoryMiB, {
      has: usage.ofFunction(pool, revision),
      counts: ({ pool: { revision: of } }) => of.tenant === tenant && of.name === name,
    }),
    ...excess('tenantLimit', pool, `the tenant ${tenant}`, tenantLimit, memoryMiB, {
      has: usage.ofTenant(pool, tenant),
      counts: ({ pool: { revision: of } }) => of.tenant === tenant,
    }),
  ]
}

const excess = (
  limit: Excess['limit'],
  pool: string,
  who: string,
  { instances: mostInstances = Infinity, memoryMiB: mostMiB = Infinity }: Limit = {},
  memoryMiB: number,
  { has, counts }: { readonly has: Amount; readonly counts: Excess['counts'] },
): Excess[] => {
  const over = { instances: has.instances + 1 - mostInstances, memoryMiB: has.memoryMiB + memoryMiB - mostMiB }
  if (over.instances <= 0 && over.memoryMiB <= 0) return []
  const most = [
    mostInstances < Infinity ? `${mostInstances} instances` : '',
    mostMiB < Infinity ? `${mostMiB} MiB` : '',
  ].filter(Boolean)
  const reason = `${who} has ${has.instances} instances with ${has.memoryMiB} MiB in the pool ${pool}, and may have ${most.join(' and ')}`
  return [{ limit, reason, over, counts }]
}
