/** What is held for a function right now, and what its next request would get. */
import { Type } from 'typebox'
import { InstancePolicy } from '../../contracts/function.ts'
import { Explanation } from '../../contracts/placement.ts'
import type { GatewayDeps } from '../deps.ts'
import { findVersion, targetOf } from '../lookup.ts'
import { placementRequest } from '../placement-request.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named, Qualified } from './views.ts'

const Reply = Type.Object({
  functionName: Type.String(),
  version: Type.String(),
  revisionId: Type.String(),
  memoryMiB: Type.Integer(),
  policy: InstancePolicy,
  next: Explanation,
})

export const explainOperations = (deps: GatewayDeps): AnyOperation[] => [
  operation({
    id: 'ExplainPlacement',
    summary: 'What is held for the function, and what its next request would get and why; changes nothing',
    method: 'GET',
    url: '/forkyard/v1/functions/:FunctionName/explain',
    params: Named,
    query: Qualified,
    status: 200,
    reply: Reply,
    handle: async ({ caller, params, query, request }) => {
      const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
      const { version } = await findVersion(deps, target)
      return {
        functionName: version.name,
        version: version.version,
        revisionId: version.revisionId,
        memoryMiB: version.memoryMiB,
        policy: version.policy,
        next: await deps.scheduler.explain(
          placementRequest(version, {
            invocationId: request.id,
            startWish: 'auto',
            deadlineAt: Date.now() + version.timeoutMs,
            excludeNodes: [],
          }),
        ),
      }
    },
  }),
]
