/** What is wrong with `forkyard:pools`, and with the pools that hosts name: every value at fault by its own key. */
import { Value } from 'typebox/value'
import { defaultPool, ResourcePool, tenantPattern } from '../services/contracts/resource-pool.ts'
import { objectProblems } from './config-problem.ts'
import type { HostConfig } from './host-config.ts'

/** @param key of the list, `forkyard:pools` */
export const poolProblems = (key: string, pools: unknown): string[] => {
  if (!Array.isArray(pools)) return [`${key}: is not an array`]
  return pools.flatMap((pool: unknown, index) => {
    const problems = objectProblems(`${key}[${index}]`, ResourcePool, pool)
    return problems.length > 0 || !Value.Check(ResourcePool, pool)
      ? problems
      : [
          ...rangeProblems(`${key}[${index}]`, pool),
          ...tenantProblems(`${key}[${index}]`, pool),
          ...twice(key, pools, index),
        ]
  })
}

const rangeProblems = (at: string, { minMemoryMiB = 0, maxMemoryMiB = Infinity }: ResourcePool): string[] =>
  minMemoryMiB > maxMemoryMiB ? [`${at}.minMemoryMiB: ${minMemoryMiB} is above maxMemoryMiB ${maxMemoryMiB}`] : []

const isTenant = (text: string): boolean => new RegExp(tenantPattern).test(text)

/** What is kept for a tenant whose functions never get in would be kept for nobody. */
const tenantProblems = (at: string, { tenants, reserved = {}, weights = {} }: ResourcePool): string[] =>
  Object.entries({ reserved, weights }).flatMap(([member, byTenant]) =>
    Object.keys(byTenant)
      .filter((tenant) => !isTenant(tenant) || (tenants && !tenants.includes(tenant)))
      .map((tenant) =>
        isTenant(tenant)
          ? `${at}.${member}: the pool does not belong to ${tenant}`
          : `${at}.${member}: '${tenant}' is no tenant's name; expected text matching ${tenantPattern}`,
      ),
  )

const twice = (key: string, pools: readonly ResourcePool[], index: number): string[] => {
  const name = pools[index]?.name
  const other = pools.findIndex((pool) => pool.name === name)
  return other < index ? [`${key}[${index}].name: ${name} is that of ${key}[${other}] already`] : []
}

/** No function would run on a node whose pool nobody says anything of. @param key of the hosts */
export const unknownPools = (
  key: string,
  hosts: readonly HostConfig[],
  pools: readonly Pick<ResourcePool, 'name'>[],
): string[] => {
  const names = [defaultPool, ...pools.map(({ name }) => name)]
  return hosts.flatMap(({ pool }, index) =>
    pool === undefined || names.includes(pool)
      ? []
      : [`${key}[${index}].pool: ${pool} is no pool of forkyard:pools; valid are ${[...new Set(names)].join(', ')}`],
  )
}
