/** What is held for a function right now, and what its next request would get. */
import { Type } from 'typebox'
import { InstancePolicy } from '../../contracts/function.ts'
import { NodeExplanation } from '../../contracts/node.ts'
import { Explanation, startTypes, type RevisionRef } from '../../contracts/placement.ts'
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
  /** What the next request would get: `warm` from an idle instance, or how its node would start one. */
  startType: Type.Optional(Type.Enum(startTypes)),
  startReason: Type.Optional(Type.String()),
  /** Nodes that answered. */
  nodes: Type.Array(NodeExplanation),
})

const nodeExplanations = async (
  { scheduler, nodes, logger }: GatewayDeps,
  revision: RevisionRef,
): Promise<NodeExplanation[]> => {
  const asked = (await scheduler.nodes()).map(({ url }) => nodes.explain(url, revision))
  return (await Promise.allSettled(asked)).flatMap((result) => {
    if (result.status === 'fulfilled') return [result.value]
    logger.warn({ err: result.reason as unknown }, 'a node does not explain')
    return []
  })
}

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
      const { record, version } = await findVersion(deps, target)
      const placement = placementRequest(version, record, {
        invocationId: request.id,
        startWish: 'auto',
        deadlineAt: Date.now() + version.timeoutMs,
        excludeNodes: [],
      })
      const [next, nodes] = await Promise.all([
        deps.scheduler.explain(placement),
        nodeExplanations(deps, placement.revision),
      ])
      const started = nodes.find(({ nodeId }) => nodeId === next.nodeId)?.next
      return {
        functionName: version.name,
        version: version.version,
        revisionId: version.revisionId,
        memoryMiB: version.memoryMiB,
        policy: version.policy,
        next,
        ...(next.decision === 'idle' ? { startType: 'warm' as const, startReason: next.reason } : {}),
        ...(next.decision === 'start' && started ? { startType: started.startType, startReason: started.reason } : {}),
        nodes,
      }
    },
  }),
]
