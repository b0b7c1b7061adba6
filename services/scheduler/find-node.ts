/** Nodes of a pool on which an instance may start, and what may end to make room for it. Pure. */
import type { PlacementRequest } from '../contracts/placement.ts'
import type { FleetView } from './place.ts'
import type { FilesHeld } from './node-files.ts'
import {
  compareIds,
  freeMiB,
  freePlaces,
  isOpen,
  load,
  spokenFor,
  type Instance,
  type Node,
  type Pool,
} from './pool.ts'
import type { Excess } from './resource-pools/limits.ts'
import type { Reservation } from './resource-pools/reservations.ts'

/** What a start needs of a node. */
export type Needs = Pick<PlacementRequest, 'revision' | 'memoryMiB' | 'excludeNodes'>

/** Nodes that are looked at for a start, in each order: a bound on the work, far above what is needed while there is room. */
const mostNodes = 64
/** Nodes among which a start looks for the one with the fewest instances of its revision. */
export const mostCandidates = 8
/** As loaded as the least loaded one: within this share of the memory. */
const sameLoad = 0.05
/** A checkpoint spares the function's initialisation: worth a node that is more loaded by this share of the memory. */
const worthItsLoad = 0.2
/** Of a revision on one node: as many as a node makes at the same time, unless it was told otherwise. */
const startsAtOnce = 2
/** Idle instances that are looked at for room. */
const mostIdle = 4096

/** 0: nothing speaks against the node. Whatever does is better than no node at all. */
export const objections = (node: Node, { excludeNodes, memoryMiB }: Needs, now: number): number =>
  (excludeNodes.includes(node.id) ? 4 : 0) +
  (node.suspectUntil > now ? 2 : 0) +
  (node.usedMemoryMiB + node.cache.heldMiB + memoryMiB > node.capacity.memoryMiB ? 1 : 0)

/** The first of those with the fewest objections. */
const leastObjectionable = (nodes: Iterable<Node>, needs: Needs, now: number): Node | undefined => {
  let found: Node | undefined
  let fewest = Infinity
  let looked = 0
  for (const node of nodes) {
    if (freeMiB(node) >= needs.memoryMiB) {
      const against = objections(node, needs, now)
      if (against < fewest) [found, fewest] = [node, against]
      if (fewest === 0) return found
    }
    if (++looked >= mostNodes) break
  }
  return found
}

/** Among the least loaded with room, the one with the fewest instances of the revision: a function is spread, and not at the others' cost. */
export const leastLoaded = (fleet: FleetView, pool: string, needs: Needs, now: number): Node | undefined => {
  let found: Node | undefined
  let fewest = Infinity
  let candidates = 0
  let looked = 0
  let limit = Infinity
  for (const node of fleet.nodesByLoad(pool)) {
    if (load(node) > limit || candidates === mostCandidates || looked++ === mostNodes) break
    if (freeMiB(node) < needs.memoryMiB || objections(node, needs, now) > 0) continue
    if (candidates++ === 0) limit = load(node) + sameLoad
    const instances = fleet.poolOn(needs.revision, node.id)?.instances.size ?? 0
    if (instances < fewest) [found, fewest] = [node, instances]
    if (fewest === 0) break
  }
  return found ?? leastObjectionable(fleet.nodesByLoad(pool), needs, now)
}

/** The node that has most of what the revision starts from, if it may be had without loading some nodes much more than others. */
export const withFiles = (
  fleet: FleetView,
  pool: string,
  needs: Needs,
  now: number,
): { readonly node: Node; readonly held: FilesHeld } | undefined => {
  let best: Holder | undefined
  let least: number | undefined
  let looked = 0
  let candidates = 0
  for (const [node, held] of fleet.files.holders(needs.revision)) {
    // What has the code alone comes after all that has a checkpoint.
    if (looked++ === mostNodes || candidates === mostCandidates || (held === 'code' && best?.held === 'checkpoint'))
      break
    if (node.nodePool !== pool || !isOpen(node) || freePlaces(node) <= 0 || freeMiB(node) < needs.memoryMiB) continue
    if (objections(node, needs, now) > 0) continue
    least ??= leastLoad(fleet, pool)
    if (load(node) > least + (held === 'checkpoint' ? worthItsLoad : sameLoad)) continue
    const here = fleet.poolOn(needs.revision, node.id)
    // What waits for its turn to start here starts sooner elsewhere.
    if ((here?.starting ?? 0) >= startsAtOnce) continue
    candidates++
    const holder = { node, held, instances: here?.instances.size ?? 0 }
    if (!best || byFiles(holder, best) < 0) best = holder
  }
  return best
}

interface Holder {
  readonly node: Node
  readonly held: FilesHeld
  /** Of the revision. */
  readonly instances: number
}

const byFiles = (a: Holder, b: Holder): number =>
  Number(a.held === 'code') - Number(b.held === 'code') ||
  a.instances - b.instances ||
  load(a.node) - load(b.node) ||
  compareIds(a.node.id, b.node.id)

const leastLoad = (fleet: FleetView, pool: string): number => {
  for (const node of fleet.nodesByLoad(pool)) return load(node)
  return 0
}

/** When nodes are of different sizes, the least loaded may all be too small. */
export const freest = (fleet: FleetView, pool: string, needs: Needs, now: number): Node | undefined =>
  leastObjectionable(fleet.nodesByFreeMemory(pool), needs, now)

export interface Room {
  readonly node: Node
  readonly end: readonly Instance[]
}

/**
 * Idle instances that may end for the revision, asked about one after the other, each taken for ended if it may: none that an invocation is on
 * the way to, none for which capacity is reserved or provisioned.
 */
const endable = (fleet: FleetView, revision: Needs['revision']) => {
  const slots = new Map<Pool, number>()
  const spares = new Map<string, number>()
  return (instance: Instance): boolean => {
    const { pool, policy } = instance
    const left = (slots.get(pool) ?? pool.slots - spokenFor(pool)) - policy.concurrency
    slots.set(pool, left)
    if (left < 0) return false
    const guards = [...fleet.reservations.guards(instance, revision), ...provisionedGuard(fleet, pool)]
    if (guards.some(({ key, spare }) => (spares.get(key) ?? spare) <= 0)) return false
    for (const { key, spare } of guards) spares.set(key, (spares.get(key) ?? spare) - 1)
    return true
  }
}

const provisionedGuard = (fleet: FleetView, { key, revision }: Pool): { key: string; spare: number }[] => {
  const wanted = fleet.provisioned.wantedOf(revision)
  return wanted === 0 ? [] : [{ key: `provisioned ${key}`, spare: fleet.instancesOf(revision) - wanted }]
}

/** The idle instances that were not used for the longest end, on the node where that makes room first. */
export const makeRoom = (fleet: FleetView, pool: string, needs: Needs, now: number): Room | undefined => {
  const ends = new Map<Node, Instance[]>()
  const mayEnd = endable(fleet, needs.revision)
  let found: Room | undefined
  let looked = 0
  for (const instance of fleet.idleInstances(pool)) {
    if (looked++ === mostIdle) break
    const { node } = instance.pool
    if (!isOpen(node) || found?.node === node || !mayEnd(instance)) continue
    const end = [...(ends.get(node) ?? []), instance]
    ends.set(node, end)
    if (!fits(node, needs.memoryMiB, end)) continue
    found ??= { node, end }
    if (objections(node, needs, now) < 2) return { node, end }
  }
  return found
}

const nobody = { tenant: '', name: '', version: '', revisionId: '' }

/** Room for a place that is to be kept: what is free, or what idle instances give up. */
export const roomFor = (fleet: FleetView, { pool, memoryMiB }: Reservation, now: number): Room | undefined => {
  // For nobody: whoever reserved does not lose an instance for the place of another.
  const needs = { revision: nobody, memoryMiB, excludeNodes: [] }
  const node = leastLoaded(fleet, pool, needs, now) ?? freest(fleet, pool, needs, now)
  return node ? { node, end: [] } : makeRoom(fleet, pool, needs, now)
}

/** Idle instances of those who have too much, so that they may have one more; nothing when too few are idle. */
export const makeRoomUnder = (
  fleet: FleetView,
  pool: string,
  { revision }: Needs,
  excesses: readonly Excess[],
): Instance[] | undefined => {
  const left = new Map(excesses.map((each) => [each, { ...each.over }]))
  const mayEnd = endable(fleet, revision)
  const end: Instance[] = []
  let looked = 0
  for (const instance of fleet.idleInstances(pool)) {
    if (looked++ === mostIdle) break
    const eased = [...left].filter(([{ counts }]) => counts(instance))
    if (eased.length === 0 || !mayEnd(instance)) continue
    end.push(instance)
    for (const [excess, over] of eased) {
      over.instances--
      over.memoryMiB -= instance.memoryMiB
      if (over.instances <= 0 && over.memoryMiB <= 0) left.delete(excess)
    }
    if (left.size === 0) return end
  }
  return undefined
}

export const fits = (node: Node, memoryMiB: number, ending: readonly Instance[]): boolean => {
  const released = ending.reduce((sum, instance) => sum + instance.memoryMiB, 0)
  return freeMiB(node) + released >= memoryMiB && freePlaces(node) + ending.length > 0
}
