/** Where an invocation runs: a pure decision over what is known of the fleet. The same fleet and request give the same answer. */
import type { PlacementRequest } from '../contracts/placement.ts'
import {
  freeIdleSlots,
  freeMiB,
  freeSlots,
  isOpen,
  load,
  spokenFor,
  type Instance,
  type Node,
  type Pool,
} from './pool.ts'

/** What placement reads. Everything is in order, and read only as far as the decision needs. */
export interface FleetView {
  poolsOf(revision: PlacementRequest['revision']): Iterable<Pool>
  poolOn(revision: PlacementRequest['revision'], nodeId: string): Pool | undefined
  hasOpenNode(): boolean
  /** Invocations of the function, whatever the version, that hold a slot. In constant time. */
  lentOf(revision: PlacementRequest['revision']): number
  /** Those of open nodes with a free idle slot, the most recently used first; ties by node. */
  idlePools(revision: PlacementRequest['revision']): Iterable<Pool>
  /** Those of open nodes with a free slot, most slots first; ties by node. */
  freePools(revision: PlacementRequest['revision']): Iterable<Pool>
  /** Open nodes with a place for an instance, the least loaded first; ties by id. */
  nodesByLoad(): Iterable<Node>
  /** The same nodes, most free memory first; ties by id. */
  nodesByFreeMemory(): Iterable<Node>
  /** Of all nodes, longest idle first; ties by id. */
  idleInstances(): Iterable<Instance>
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
  | { readonly kind: 'none'; readonly reason: string }
  /** As many as are reserved for the function hold slots already. */
  | { readonly kind: 'throttled'; readonly reason: string }

/** Nodes that are looked at for a start, in each order: a bound on the work, far above what is needed while there is room. */
const mostNodes = 64
/** Nodes among which a start looks for the one with the fewest instances of its revision. */
const mostCandidates = 8
/** As loaded as the least loaded one: within this share of the memory. */
const sameLoad = 0.05
/** Idle instances that are looked at for room. */
const mostIdle = 4096

export const place = (fleet: FleetView, request: PlacementRequest, now: number): Decision => {
  const { startWish, revision } = request
  const throttled = throttle(fleet, request)
  if (throttled) return throttled
  if (startWish !== 'auto') return start(fleet, request, now, `start type ${startWish} was asked for`)
  // Most recently used first: the others grow old and end.
  const idle = lendable(fleet.idlePools(revision), request)
  if (idle) return { kind: 'idle', pool: idle, reason: `${freeIdleSlots(idle)} idle slots on ${idle.node.id}` }
  const shared = lendable(fleet.freePools(revision), request)
  if (shared) {
    const reason = `${freeSlots(shared)} free slots of starting or busy instances on ${shared.node.id}`
    return { kind: 'shared', pool: shared, reason }
  }
  return start(fleet, request, now, 'every slot is taken')
}

/** Before anything else: also what waits for a node, or for its turn, has no place under a limit that is reached. */
export const throttle = (
  fleet: Pick<FleetView, 'lentOf'>,
  { revision, reservedConcurrency: reserved }: PlacementRequest,
): { readonly kind: 'throttled'; readonly reason: string } | undefined => {
  if (reserved === undefined) return undefined
  const lent = fleet.lentOf(revision)
  if (lent < reserved) return undefined
  return { kind: 'throttled', reason: `${lent} invocations of the function run, ${reserved} are reserved` }
}

const lendable = (pools: Iterable<Pool>, { excludeNodes }: PlacementRequest): Pool | undefined => {
  for (const pool of pools) if (!excludeNodes.includes(pool.node.id)) return pool
  return undefined
}

const start = (fleet: FleetView, request: PlacementRequest, now: number, why: string): Decision => {
  if (!fleet.hasOpenNode()) return { kind: 'none', reason: 'no node accepts starts' }
  const { memoryMiB } = request
  const node = leastLoaded(fleet, request, now) ?? freest(fleet, request, now)
  if (node) {
    const reason = `${why}; ${node.id} is among the least loaded nodes with ${memoryMiB} MiB free`
    return { kind: 'start', node, end: [], reason }
  }
  const reclaim = makeRoom(fleet, request, now)
  if (!reclaim) return { kind: 'none', reason: `no node has ${memoryMiB} MiB and a place for an instance` }
  const reason = `${why}; ${reclaim.end.length} idle instances of ${reclaim.node.id} end to make room`
  return { kind: 'start', ...reclaim, reason }
}

/** 0: nothing speaks against the node. Whatever does is better than no node at all. */
const objections = (node: Node, { excludeNodes, memoryMiB }: PlacementRequest, now: number): number =>
  (excludeNodes.includes(node.id) ? 4 : 0) +
  (node.suspectUntil > now ? 2 : 0) +
  (node.usedMemoryMiB + node.cache.heldMiB + memoryMiB > node.capacity.memoryMiB ? 1 : 0)

/** The first of those with the fewest objections. */
const leastObjectionable = (nodes: Iterable<Node>, request: PlacementRequest, now: number): Node | undefined => {
  let found: Node | undefined
  let fewest = Infinity
  let looked = 0
  for (const node of nodes) {
    if (freeMiB(node) >= request.memoryMiB) {
      const against = objections(node, request, now)
      if (against < fewest) [found, fewest] = [node, against]
      if (fewest === 0) return found
    }
    if (++looked >= mostNodes) break
  }
  return found
}

/** Among the least loaded with room, the one with the fewest instances of the revision: a function is spread, and not at the others' cost. */
const leastLoaded = (fleet: FleetView, request: PlacementRequest, now: number): Node | undefined => {
  let found: Node | undefined
  let fewest = Infinity
  let candidates = 0
  let looked = 0
  let limit = Infinity
  for (const node of fleet.nodesByLoad()) {
    if (load(node) > limit || candidates === mostCandidates || looked++ === mostNodes) break
    if (freeMiB(node) < request.memoryMiB || objections(node, request, now) > 0) continue
    if (candidates++ === 0) limit = load(node) + sameLoad
    const instances = fleet.poolOn(request.revision, node.id)?.instances.size ?? 0
    if (instances < fewest) [found, fewest] = [node, instances]
    if (fewest === 0) break
  }
  return found ?? leastObjectionable(fleet.nodesByLoad(), request, now)
}

/** When nodes are of different sizes, the least loaded may all be too small. */
const freest = (fleet: FleetView, request: PlacementRequest, now: number): Node | undefined =>
  leastObjectionable(fleet.nodesByFreeMemory(), request, now)

interface Room {
  readonly node: Node
  readonly end: readonly Instance[]
}

/**
 * The idle instances that were not used for the longest end, on the node where that makes room first. None that an invocation is on the
 * way to.
 */
const makeRoom = (fleet: FleetView, request: PlacementRequest, now: number): Room | undefined => {
  const ends = new Map<Node, Instance[]>()
  const spare = new Map<Pool, number>()
  let found: Room | undefined
  let looked = 0
  for (const instance of fleet.idleInstances()) {
    if (looked++ === mostIdle) break
    const { pool, policy } = instance
    const { node } = pool
    if (!isOpen(node) || found?.node === node) continue
    const left = (spare.get(pool) ?? pool.slots - spokenFor(pool)) - policy.concurrency
    spare.set(pool, left)
    if (left < 0) continue
    const end = [...(ends.get(node) ?? []), instance]
    ends.set(node, end)
    if (!fits(node, request.memoryMiB, end)) continue
    found ??= { node, end }
    if (objections(node, request, now) < 2) return { node, end }
  }
  return found
}

const fits = (node: Node, memoryMiB: number, ending: readonly Instance[]): boolean => {
  const released = ending.reduce((sum, instance) => sum + instance.memoryMiB, 0)
  return freeMiB(node) + released >= memoryMiB && node.instances.size - ending.length < node.capacity.instances
}
