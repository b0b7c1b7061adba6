/** Where an invocation runs: a pure decision over what is known of the fleet. The same fleet and request give the same answer. */
import type { PlacementRequest } from '../contracts/placement.ts'
import type { ResourcePool } from '../contracts/resource-pool.ts'
import { fits, freest, leastLoaded, makeRoom, makeRoomUnder, withFiles, type Room } from './find-node.ts'
import type { NodeFilesView } from './node-files.ts'
import { freeIdleSlots, freeSlots, type Instance, type Node, type Pool } from './pool.ts'
import type { ProvisionedView } from './provisioned.ts'
import { poolFor, whyNoPool } from '../contracts/pool-assignment.ts'
import type { ContentionView, Right } from './resource-pools/contention.ts'
import { excesses, type Excess } from './resource-pools/limits.ts'
import type { ReservationsView } from './resource-pools/reservations.ts'
import type { UsageView } from './resource-pools/usage.ts'

/** What placement reads. Everything is in order, and read only as far as the decision needs. */
export interface FleetView {
  readonly rules: readonly ResourcePool[]
  readonly usage: UsageView
  readonly reservations: ReservationsView
  readonly provisioned: ProvisionedView
  readonly contention: ContentionView
  readonly files: NodeFilesView
  poolsOf(revision: PlacementRequest['revision']): Iterable<Pool>
  poolOn(revision: PlacementRequest['revision'], nodeId: string): Pool | undefined
  /** @param pool of nodes; absent: in any */
  hasOpenNode(pool?: string): boolean
  /** Invocations of the function, whatever the version, that hold a slot. In constant time. */
  lentOf(revision: PlacementRequest['revision']): number
  /** Those of the revision alone. */
  lentOfRevision(revision: PlacementRequest['revision']): number
  /** Of the revision, on all nodes. */
  instancesOf(revision: PlacementRequest['revision']): number
  /** Those of open nodes with a free idle slot, the most recently used first; ties by node. */
  idlePools(revision: PlacementRequest['revision']): Iterable<Pool>
  /** Those of open nodes with a free slot, most slots first; ties by node. */
  freePools(revision: PlacementRequest['revision']): Iterable<Pool>
  /** Open nodes of a pool of nodes with a place for an instance, the least loaded first; ties by id. */
  nodesByLoad(pool: string): Iterable<Node>
  /** The same nodes, most free memory first; ties by id. */
  nodesByFreeMemory(pool: string): Iterable<Node>
  /** Of all nodes of the pool, longest idle first; ties by id. */
  idleInstances(pool: string): Iterable<Instance>
}

export type Decision =
  | { readonly kind: 'idle' | 'shared'; readonly pool: Pool; readonly reason: string }
  | {
      readonly kind: 'start'
      readonly node: Node
      /** Idle instances that end to make room. */
      readonly end: readonly Instance[]
      readonly reason: string
    }
  /** There will be room, and it is the request's, or it is to leave room to others. */
  | { readonly kind: 'wait'; readonly inPool: string; readonly right?: Right; readonly reason: string }
  | { readonly kind: 'none'; readonly reason: string }
  /** A limit is reached that somebody set. */
  | { readonly kind: 'throttled'; readonly limit: 'reservedConcurrency' | Excess['limit']; readonly reason: string }

type Throttled = Extract<Decision, { kind: 'throttled' }>

export const place = (fleet: FleetView, request: PlacementRequest, now: number): Decision => {
  const { startWish, revision } = request
  const throttled = throttle(fleet, request)
  if (throttled) return throttled
  const inPool = poolFor(fleet.rules, request)
  if (inPool === undefined) return { kind: 'none', reason: whyNoPool(fleet.rules, request) }
  const others = fleet.contention.yieldsTo(inPool, request, now)
  if (others !== undefined && !hasProvisioned(fleet, request))
    return { kind: 'wait', inPool, reason: `what becomes free is left to ${others}` }
  if (startWish !== 'auto') return start(fleet, inPool, request, now, `start type ${startWish} was asked for`)
  // Most recently used first: the others grow old and end.
  const idle = lendable(fleet.idlePools(revision), inPool, request)
  if (idle) return { kind: 'idle', pool: idle, reason: `${freeIdleSlots(idle)} idle slots on ${idle.node.id}` }
  const shared = lendable(fleet.freePools(revision), inPool, request)
  if (shared) {
    const reason = `${freeSlots(shared)} free slots of starting or busy instances on ${shared.node.id}`
    return { kind: 'shared', pool: shared, reason }
  }
  return start(fleet, inPool, request, now, 'every slot is taken')
}

/** Before anything else: also what waits for a node, or for its turn, has no place under a limit that is reached. */
export const throttle = (
  fleet: Pick<FleetView, 'lentOf' | 'lentOfRevision' | 'provisioned'>,
  request: PlacementRequest,
): Throttled | undefined => {
  const { revision, reservedConcurrency: reserved } = request
  if (reserved === undefined) return undefined
  const lent = fleet.lentOf(revision)
  const others = hasProvisioned(fleet, request) ? 0 : unusedProvisioned(fleet, revision)
  if (lent + others < reserved) return undefined
  const kept = others > 0 ? `, ${others} are provisioned for other versions` : ''
  const reason = `${lent} invocations of the function run${kept}, ${reserved} are reserved`
  return { kind: 'throttled', limit: 'reservedConcurrency', reason }
}

/** An instance that is kept for the revision has no other invocation. */
const hasProvisioned = (
  fleet: Pick<FleetView, 'lentOfRevision' | 'provisioned'>,
  { revision }: PlacementRequest,
): boolean => {
  const concurrency = fleet.provisioned.concurrencyOf(revision)
  return concurrency > 0 && fleet.lentOfRevision(revision) < concurrency
}

/** Of what is reserved for the function, the part that its provisioned versions do not use just now, and nobody else may. */
const unusedProvisioned = (
  fleet: Pick<FleetView, 'lentOfRevision' | 'provisioned'>,
  revision: PlacementRequest['revision'],
): number =>
  fleet.provisioned
    .ofFunction(revision)
    .reduce((sum, { needs, concurrency }) => sum + Math.max(0, concurrency - fleet.lentOfRevision(needs.revision)), 0)

/** None on nodes that the function may not run on any more. */
const lendable = (pools: Iterable<Pool>, inPool: string, { excludeNodes }: PlacementRequest): Pool | undefined => {
  for (const pool of pools) if (pool.node.nodePool === inPool && !excludeNodes.includes(pool.node.id)) return pool
  return undefined
}

/** @param inPool of nodes */
export const start = (
  fleet: FleetView,
  inPool: string,
  request: PlacementRequest,
  now: number,
  why: string,
): Decision => {
  if (!fleet.hasOpenNode(inPool)) return { kind: 'none', reason: `no node of the pool ${inPool} accepts starts` }
  const { memoryMiB, revision, excludeNodes } = request
  const rule = fleet.rules.find(({ name }) => name === inPool)
  const over = excesses(rule, fleet.usage, revision, memoryMiB)
  const own = over.length > 0 ? makeRoomUnder(fleet, inPool, request, over) : []
  if (!own) return { kind: 'throttled', limit: over[0]?.limit ?? 'tenantLimit', reason: over[0]?.reason ?? '' }
  const kept = fleet.reservations.keptNode(inPool, revision, memoryMiB, excludeNodes)
  if (kept) return { kind: 'start', node: kept, end: own, reason: `${why}; a place is reserved on ${kept.id}` }
  const near = withFiles(fleet, inPool, request, now)
  if (near) {
    const reason = `${why}; ${near.node.id} has ${near.held === 'checkpoint' ? 'a checkpoint of it' : 'its code'}, and is little more loaded than others`
    return { kind: 'start', node: near.node, end: own, reason }
  }
  const node = leastLoaded(fleet, inPool, request, now) ?? freest(fleet, inPool, request, now)
  if (node) {
    const reason = `${why}; ${node.id} is among the least loaded nodes with ${memoryMiB} MiB free`
    return { kind: 'start', node, end: own, reason }
  }
  const reclaim = own.length > 0 ? roomOf(own, memoryMiB) : makeRoom(fleet, inPool, request, now)
  if (reclaim) {
    const reason = `${why}; ${reclaim.end.length} idle instances of ${reclaim.node.id} end to make room`
    return { kind: 'start', ...reclaim, reason }
  }
  const none = `no node of the pool ${inPool} has ${memoryMiB} MiB and a place for an instance`
  const right = fleet.contention.rightTo(inPool, request)
  if (right === undefined) return { kind: 'none', reason: none }
  const has = right === 'reserved' ? 'capacity is reserved for it' : 'its tenant has less than its share, another more'
  return { kind: 'wait', inPool, right, reason: `${none}; ${has}` }
}

/** A node where what ends anyway makes the room. */
const roomOf = (end: readonly Instance[], memoryMiB: number): Room | undefined => {
  const nodes = [...new Set(end.map(({ pool }) => pool.node))]
  const node = nodes.find((each) =>
    fits(
      each,
      memoryMiB,
      end.filter(({ pool }) => pool.node === each),
    ),
  )
  return node && { node, end }
}
