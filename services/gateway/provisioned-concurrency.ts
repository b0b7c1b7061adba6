/** Provisioned concurrency in a function's record, and how far the nodes are with it. */
import { PlatformError } from '../contracts/errors.ts'
import type { FunctionRecord, ProvisionedRecord } from '../contracts/function.ts'
import { provisionedOf } from './account-concurrency.ts'
import { isPublished, needsOf, provisionedByVersion } from './claims.ts'
import type { GatewayDeps } from './deps.ts'
import { requireQualifier } from './lookup.ts'

/** @throws PlatformError NO_PROVISIONED_CONCURRENCY */
export const configOf = ({ provisioned = {} }: FunctionRecord, qualifier: string): ProvisionedRecord => {
  const found = Object.hasOwn(provisioned, qualifier) ? provisioned[qualifier] : undefined
  if (found) return found
  throw new PlatformError('NO_PROVISIONED_CONCURRENCY', 'No Provisioned Concurrency Config found for this function')
}

const invalid = (message: string): PlatformError => new PlatformError('INVALID_REQUEST', message)

/** Pure. @throws PlatformError NOT_FOUND; INVALID_REQUEST where AWS refuses it */
export const putProvisioned = (
  record: FunctionRecord,
  qualifier: string,
  concurrency: number,
  region: string,
): FunctionRecord => {
  requireQualifier(record, qualifier, region)
  if (!isPublished(record, qualifier))
    throw invalid('Provisioned Concurrency Configs cannot be applied to unpublished function versions.')
  requireOnce(record, qualifier)
  const lastModified = new Date().toISOString()
  const provisioned = { ...record.provisioned, [qualifier]: { concurrency, lastModified } }
  const { reservedConcurrency: reserved } = record
  if (reserved !== undefined && provisionedOf({ provisioned }) > reserved)
    throw invalid(
      `Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function (${reserved})`,
    )
  return { ...record, provisioned }
}

/** A version is provisioned by its own number or through one alias. */
const requireOnce = (record: FunctionRecord, qualifier: string): void => {
  const { provisioned = {} } = record
  const versions = provisionedByVersion({ ...record, provisioned: { [qualifier]: one } })
  for (const other of Object.keys(provisioned)) {
    if (other === qualifier) continue
    const shared = [...provisionedByVersion(record, other).keys()].find((version) => versions.has(version))
    if (shared !== undefined)
      throw invalid(`Version ${shared} is provisioned already, by the Provisioned Concurrency Config of ${other}`)
  }
}

const one: ProvisionedRecord = { concurrency: 1000, lastModified: '' }

/** Over the versions that the qualifier stands for. */
export const stateOf = async (
  { registry, scheduler }: Pick<GatewayDeps, 'registry' | 'scheduler'>,
  record: FunctionRecord,
  qualifier: string,
  requested: number,
) => {
  const revisions = [...provisionedByVersion(record, qualifier).keys()].flatMap((number) => {
    const config = registry.version(record.tenant, record.name, Number(number))
    return config ? [needsOf(config).revision] : []
  })
  const states = await scheduler.provisioned(revisions)
  const sum = (of: 'available' | 'allocated'): number =>
    Math.min(
      requested,
      states.reduce((total, state) => total + state[of], 0),
    )
  const problem = states.find((state) => state.problem !== undefined)?.problem
  const available = sum('available')
  return {
    AvailableProvisionedConcurrentExecutions: available,
    AllocatedProvisionedConcurrentExecutions: sum('allocated'),
    ...(available >= requested
      ? { Status: 'READY' as const }
      : problem === undefined
        ? { Status: 'IN_PROGRESS' as const }
        : { Status: 'FAILED' as const, StatusReason: problem }),
  }
}
