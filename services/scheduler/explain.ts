/** What the next placement would be, and what it would be decided from. Pure: the decision is the real one, nothing is carried out. */
import { keepAliveOf } from '../contracts/function.ts'
import type { Explanation, PlacementRequest } from '../contracts/placement.ts'
import { place, type FleetView } from './place.ts'
import { compareIds, freeSlots, type Instance, type Pool } from './pool.ts'

export const explain = (fleet: FleetView, request: PlacementRequest, now: number): Explanation => {
  const decision = place(fleet, request, now)
  const node = decision.kind === 'start' ? decision.node : decision.kind === 'none' ? undefined : decision.pool.node
  return {
    decision: decision.kind,
    ...(node ? { nodeId: node.id } : {}),
    reason: decision.reason,
    held: [...fleet.poolsOf(request.revision)]
      .toSorted((a, b) => compareIds(a.node.id, b.node.id))
      .map((pool) => describePool(pool, now)),
  }
}

const describePool = (pool: Pool, now: number): Explanation['held'][number] => ({
  nodeId: pool.node.id,
  freeSlots: Math.max(0, freeSlots(pool)),
  leases: pool.leases.size,
  instances: [...pool.instances.values()].map((instance) => describeInstance(instance, now)),
})

const describeInstance = ({ id, state, inFlight, idleSince, policy, keepAliveMs }: Instance, now: number) => ({
  instanceId: id,
  state,
  inFlight,
  ...(state === 'idle'
    ? { endsInMs: Math.max(0, Math.round(idleSince + keepAliveOf(policy, keepAliveMs) - now)) }
    : {}),
})
