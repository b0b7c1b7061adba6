/** A function that no pool of nodes is for is refused when it is made, and not when it is called. */
import { PlatformError } from '../contracts/errors.ts'
import type { FunctionRecord, VersionConfig } from '../contracts/function.ts'
import { defaultPool, type ResourcePool } from '../contracts/resource-pool.ts'
import { poolFor, whyNoPool } from '../contracts/pool-assignment.ts'
import { policyTagNames } from './policy-tags.ts'

/** @returns the record @throws PlatformError INVALID_REQUEST */
export const requirePool = (rules: readonly ResourcePool[], record: FunctionRecord): FunctionRecord => {
  const asked = assigned(record.latest)
  const { pool } = record.latest.policy
  if (pool !== undefined && pool !== defaultPool && !rules.some(({ name }) => name === pool))
    throw new PlatformError('INVALID_REQUEST', `tag ${policyTagNames.pool}: there is no pool ${pool}`, {
      tag: policyTagNames.pool,
    })
  if (poolFor(rules, asked) === undefined) throw new PlatformError('INVALID_REQUEST', whyNoPool(rules, asked))
  return record
}

const assigned = ({ tenant, runtime, memoryMiB, policy }: VersionConfig) => ({
  revision: { tenant },
  runtime,
  memoryMiB,
  policy,
})
