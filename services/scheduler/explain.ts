/** What the next placement would be, and what it would be decided from. Pure: the decision is the real one, nothing is carried out. */
import type { Explanation, PlacementRequest } from '../contracts/placement.ts'
import { mostCandidates } from './find-node.ts'
import { place, type Decision, type FleetView } from './place.ts'
import { compareIds, endsAt, freeMiB, freeSlots, load, type Instance, type Node, type Pool } from './pool.ts'
import { poolFor } from '../contracts/pool-assignment.ts'

export const explain = (fleet: FleetView, request: PlacementRequest, now: number): Explanation => {
  const decision = place(fleet, request, now)
  const node = decision.kind === 'start' ? decision.node : 'pool' in decision ? decision.pool.node : undefined
  const pool = poolFor(fleet.rules, request)
  return {
    decision: decisionName(decision),
    ...(node ? { nodeId: node.id } : {}),
    reason: decision.reason,
    ...(pool === undefined ? {} : { pool }),
    candidates: pool === undefined ? [] : candidates(fleet, pool, request, now),
    held: [...fleet.poolsOf(request.revision)]
      .toSorted((a, b) => compareIds(a.node.id, b.node.id))
      .map((each) => describePool(each, now)),
  }
}

/** Callers tell apart what they get; why they get nothing is the reason's to say. */
const decisionName = ({ kind }: Decision): Explanation['decision'] =>
  kind === 'throttled' || kind === 'wait' ? 'none' : kind

const candidates = (
  fleet: FleetView,
  pool: string,
  request: PlacementRequest,
  now: number,
): Explanation['candidates'] => {
  const found: Explanation['candidates'] = []
  for (const node of fleet.nodesByLoad(pool)) {
    if (found.length === mostCandidates) break
    const against = whatIsAgainst(node, request, now)
    const holds = fleet.files.on(request.revision, node)
    const free = Math.max(0, freeMiB(node))
    found.push({
      nodeId: node.id,
      score: against.length > 0 ? 0 : Math.round(100 * Math.min(1 - load(node), free / node.capacity.memoryMiB)),
      freeMiB: free,
      instances: fleet.poolOn(request.revision, node.id)?.instances.size ?? 0,
      ...(holds === undefined ? {} : { holds }),
      against,
    })
  }
  return found
}

/** In words what `find-node.ts` decides by. */
const whatIsAgainst = (node: Node, { memoryMiB, excludeNodes }: PlacementRequest, now: number): string[] =>
  [
    freeMiB(node) < memoryMiB && `less than ${memoryMiB} MiB are free`,
    excludeNodes.includes(node.id) && 'it has just refused the request',
    node.suspectUntil > now && 'its last start failed a moment ago',
    node.usedMemoryMiB + node.cache.heldMiB + memoryMiB > node.capacity.memoryMiB &&
      freeMiB(node) >= memoryMiB &&
      'it would have to give up what it holds for later',
  ].filter((text) => text !== false)

const describePool = (pool: Pool, now: number): Explanation['held'][number] => ({
  nodeId: pool.node.id,
  freeSlots: Math.max(0, freeSlots(pool)),
  leases: pool.leases.length,
  instances: [...pool.instances.values()].map((instance) => describeInstance(instance, now)),
})

const describeInstance = (instance: Instance, now: number) => ({
  instanceId: instance.id,
  state: instance.state,
  inFlight: instance.inFlight,
  ...(instance.state === 'idle' ? { endsInMs: Math.max(0, Math.round(endsAt(instance) - now)) } : {}),
})
