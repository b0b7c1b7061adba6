/** What the scheduler is asked for one invocation of a version. */
import type { FunctionRecord, VersionConfig } from '../contracts/function.ts'
import type { PlacementRequest } from '../contracts/placement.ts'

export const placementRequest = (
  { tenant, name, version, revisionId, runtime, memoryMiB, policy }: VersionConfig,
  { reservedConcurrency }: Pick<FunctionRecord, 'reservedConcurrency'>,
  invocation: Pick<PlacementRequest, 'invocationId' | 'startWish' | 'deadlineAt' | 'excludeNodes'>,
): PlacementRequest => ({
  revision: { tenant, name, version, revisionId },
  runtime,
  memoryMiB,
  policy,
  ...(reservedConcurrency === undefined ? {} : { reservedConcurrency }),
  ...invocation,
})
