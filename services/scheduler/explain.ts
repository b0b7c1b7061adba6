/** What the next placement would be, and what it would be decided from. Pure: the decision is the real one, nothing is carried out. */
import type { Explanation, PlacementRequest } from '../contracts/placement.ts'
import { place, type FleetView } from './place.ts'
import { compareIds, endsAt, freeSlots, type Instance, type Pool } from './pool.ts'

export const explain = (fleet: FleetView, request: PlacementRequest, now: number): Explanation => {
  const decision = place(fleet, request, now)
  const node = decision.kind === 'start' ? decision.node : 'pool' in decision ? decision.pool.node : undefined
  return {
    decision: decision.kind === 'throttled' ? 'none' : decision.kind,
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

const describeInstance = (instance: Instance, now: number) => ({
  instanceId: instance.id,
  state: instance.state,
  inFlight: instance.inFlight,
  ...(instance.state === 'idle' ? { endsInMs: Math.max(0, Math.round(endsAt(instance) - now)) } : {}),
})
