/** Where an invocation runs: a pure decision over what is known of the fleet. The same fleet and request give the same answer. */
import type { PlacementRequest } from '../contracts/placement.ts'
import { byIdleTime, compareIds, freeIdleSlots, freeSlots, spareInstances } from './pool.ts'
import type { Instance, Node, Pool } from './pool.ts'

/** What placement reads. Both look-ups are by key; only a start looks at all nodes. */
export interface FleetView {
  poolsOf(revision: PlacementRequest['revision']): Iterable<Pool>
  nodes(): Iterable<Node>
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

export const place = (fleet: FleetView, request: PlacementRequest, now: number): Decision => {
  if (request.startWish !== 'auto') return start(fleet, request, now, `start type ${request.startWish} was asked for`)
  const lendable = [...fleet.poolsOf(request.revision)].filter(
    ({ node }) => isOpen(node) && !request.excludeNodes.includes(node.id),
  )
  const idle = best(
    lendable.filter((pool) => freeIdleSlots(pool) > 0),
    // Most recently used first: the others grow old and end.
    (a, b) => b.lastIdleSince - a.lastIdleSince || compareIds(a.node.id, b.node.id),
  )
  if (idle) return { kind: 'idle', pool: idle, reason: `${freeIdleSlots(idle)} idle slots on ${idle.node.id}` }
  const shared = best(
    lendable.filter((pool) => freeSlots(pool) > 0),
    (a, b) => freeSlots(b) - freeSlots(a) || compareIds(a.node.id, b.node.id),
  )
  if (shared) {
    const reason = `${freeSlots(shared)} free slots of starting or busy instances on ${shared.node.id}`
    return { kind: 'shared', pool: shared, reason }
  }
  return start(fleet, request, now, 'every slot is taken')
}

const start = (fleet: FleetView, request: PlacementRequest, now: number, why: string): Decision => {
  const open = [...fleet.nodes()].filter(isOpen)
  if (open.length === 0) return { kind: 'none', reason: 'no node accepts starts' }
  const poolByNode = new Map([...fleet.poolsOf(request.revision)].map((pool) => [pool.node.id, pool]))
  const pressed = (node: Node): boolean =>
    node.usedMemoryMiB + node.cache.heldMiB + request.memoryMiB > node.capacity.memoryMiB
  const order = (a: Node, b: Node): number =>
    // A node that refused this invocation, or that could not be reached, is better than none.
    Number(request.excludeNodes.includes(a.id)) - Number(request.excludeNodes.includes(b.id)) ||
    Number(a.suspectUntil > now) - Number(b.suspectUntil > now) ||
    Number(pressed(a)) - Number(pressed(b)) ||
    load(a) - load(b) ||
    (poolByNode.get(a.id)?.instances.size ?? 0) - (poolByNode.get(b.id)?.instances.size ?? 0) ||
    compareIds(a.id, b.id)
  const node = best(
    open.filter((candidate) => fits(candidate, request.memoryMiB, [])),
    order,
  )
  if (node) {
    const reason = `${why}; ${node.id} is the least loaded node with ${request.memoryMiB} MiB free`
    return { kind: 'start', node, end: [], reason }
  }
  const reclaims = open.flatMap((candidate) => {
    const end = roomFor(candidate, request.memoryMiB)
    return end ? [{ node: candidate, end }] : []
  })
  const reclaim = best(reclaims, (a, b) => a.end.length - b.end.length || order(a.node, b.node))
  if (!reclaim) return { kind: 'none', reason: `no node has ${request.memoryMiB} MiB and a place for an instance` }
  const reason = `${why}; ${reclaim.end.length} idle instances of ${reclaim.node.id} end to make room`
  return { kind: 'start', node: reclaim.node, end: reclaim.end, reason }
}

/** Idle instances whose end makes room, longest idle first; nothing when even all of them are not enough. */
const roomFor = (node: Node, memoryMiB: number): Instance[] | undefined => {
  const end: Instance[] = []
  for (const instance of [...node.pools.values()].flatMap(spareInstances).toSorted(byIdleTime)) {
    end.push(instance)
    if (fits(node, memoryMiB, end)) return end
  }
  return undefined
}

const fits = (node: Node, memoryMiB: number, ending: readonly Instance[]): boolean => {
  const released = ending.reduce((sum, instance) => sum + instance.memoryMiB, 0)
  return (
    node.usedMemoryMiB + node.cache.pinnedMiB - released + memoryMiB <= node.capacity.memoryMiB &&
    node.instances.size - ending.length < node.capacity.instances
  )
}

const isOpen = (node: Node): boolean => node.accepting && !node.cordoned

const load = (node: Node): number => (node.usedMemoryMiB + node.cache.heldMiB) / node.capacity.memoryMiB

/** First by `order`, without sorting the rest. */
const best = <T>(candidates: readonly T[], order: (a: T, b: T) => number): T | undefined => {
  let first: T | undefined
  for (const candidate of candidates) if (first === undefined || order(candidate, first) < 0) first = candidate
  return first
}
