/** How much may run at the same time for a tenant, and how much of that its functions have reserved. */
import { PlatformError } from '../contracts/errors.ts'
import type { FunctionRecord } from '../contracts/function.ts'
import type { GatewayDeps } from './deps.ts'

/** As at Lambda: functions without a reservation keep at least so many. */
export const minimumUnreserved = 100

export interface AccountConcurrency {
  /** Places for instances on all nodes. */
  readonly limit: number
  /** What is left of it for functions without a reservation; below 0 after nodes have left. */
  readonly unreserved: number
}

/** Invocations for which some qualifier of the function has instances of its own. */
export const provisionedOf = ({ provisioned = {} }: Pick<FunctionRecord, 'provisioned'>): number =>
  Object.values(provisioned).reduce((sum, { concurrency }) => sum + concurrency, 0)

/** What is provisioned is part of what is reserved, where something is. */
const taken = (record: FunctionRecord): number => record.reservedConcurrency ?? provisionedOf(record)

/** @throws PlatformError UNAVAILABLE when no scheduler answers: only they know the nodes */
export const accountConcurrency = async (
  { registry, scheduler }: Pick<GatewayDeps, 'registry' | 'scheduler'>,
  tenant: string,
): Promise<AccountConcurrency> => {
  const nodes = await scheduler.nodes()
  const limit = nodes.reduce<number>((sum, { capacity }) => sum + capacity.instances, 0)
  const reserved = registry.list(tenant).reduce((sum, record) => sum + taken(record), 0)
  return { limit, unreserved: limit - reserved }
}

/** To take less than before is always allowed. @throws PlatformError INVALID_REQUEST */
export const requireUnreserved = (
  { unreserved }: AccountConcurrency,
  before: number,
  wanted: number,
  member = 'ReservedConcurrentExecutions',
): void => {
  if (wanted <= before || unreserved + before - wanted >= minimumUnreserved) return
  throw new PlatformError(
    'INVALID_REQUEST',
    `Specified ${member} for function decreases account's UnreservedConcurrentExecution below its minimum value of [${minimumUnreserved}].`,
    { most: Math.max(before, unreserved + before - minimumUnreserved) },
  )
}
