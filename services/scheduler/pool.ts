/**
 * What the scheduler believes about one node and about the instances of one revision on it. The node's buffer is per revision and
 * any instance of the revision pulls from it, so slots are counted over the pool; no lease names an instance.
 */
import { keepAliveOf, type InstancePolicy } from '../contracts/function.ts'
import { briefMs, toldWithinMs, type Cordon, type NodeLabels, type NodeReport } from '../contracts/node.ts'
import type { RevisionRef } from '../contracts/placement.ts'
import { noPlaces, type Placed } from './ordered-heap.ts'

/** A slot that an invocation holds, or has held. */
export interface Lease {
  readonly invocationId: string
  readonly pool: Pool
  /** Epoch milliseconds, like the next one. */
  readonly lentAt: number
  readonly expiresAt: number
  /** Where it is among the pool's, until it is over. */
  at: number
  /** When a gateway told that it holds its slot no longer; the report of its end is awaited. */
  overAt: number | undefined
}

export interface Instance extends Placed {
  readonly id: string
  readonly pool: Pool
  readonly memoryMiB: number
  readonly policy: InstancePolicy
  state: 'starting' | 'idle' | 'busy'
  inFlight: number
  /** Epoch milliseconds, by the node's clock but never in this process's future. Only in state `idle`. */
  idleSince: number
  /** As its node decided for its present idle time, milliseconds. */
  keepAliveMs: number | undefined
  /** A report has named it. Until then it is a booking. */
  confirmed: boolean
  /** Epoch milliseconds at which the node took the start command. */
  acceptedAt: number | undefined
}

export interface Pool extends Placed {
  readonly key: string
  /** Of its function, over all versions. */
  readonly functionKey: string
  readonly revision: RevisionRef
  readonly node: Node
  readonly instances: Map<string, Instance>
  /** In no order. */
  readonly leases: Lease[]
  /** Leases that are over, as a gateway said; the node's reports count them as in flight until they tell of the end themselves. */
  over: number
  /** In flight without a lease of this process: lent before it started, or by another scheduler. */
  foreign: number
  /** Those of them that were in flight before this process began to lend. Only falls, until another scheduler has led. */
  inherited: number
  idle: number
  starting: number
  inFlight: number
  /** Slots of all instances, and of those that are idle or starting. */
  slots: number
  idleSlots: number
  startingSlots: number
  /** When the most recently used idle instance became idle; 0 without one. */
  lastIdleSince: number
  /** Epoch milliseconds at which the first of the idle instances is over; Infinity without one. */
  nextEndAt: number
  /** Epoch milliseconds at which the pool is looked at for that. */
  checkAt: number
  /** Another revision of the same version is in use: its instances end as they become idle. */
  outdated: boolean
  /** Some instance of the pool ends after its first batch. */
  singleUse: boolean
}

export interface Node extends Placed {
  readonly id: string
  url: string
  epoch: string
  seq: number
  /** Everything up to `seq` is known. False: a report was lost, a full one is awaited. */
  synced: boolean
  accepting: boolean
  /** Gets nothing new; it keeps what it has. */
  cordon: Cordon | undefined
  /** Its starts fail, and it is not cordoned because no other node of its pool is there to take them. */
  unfit: string | undefined
  capacity: NonNullable<NodeReport['capacity']>
  /** Of the nodes that are alike; not one of the pools below. */
  readonly nodePool: string
  labels: NodeLabels
  /** Milliseconds of the caller's clock. */
  lastSeen: number
  /** When its leases were last compared with its reports. */
  leasesCheckedAt: number
  /** Its start endpoint failed; until then other nodes are preferred. */
  suspectUntil: number
  usedMemoryMiB: number
  /** Held by the node's cache, beside the instances: given back when a start needs it, except for what is pinned. */
  cache: NonNullable<NodeReport['cache']>
  /** Of this process's own booking: room for whoever reserved it (`resource-pools/reservations.ts`). */
  readonly kept: { places: number; memoryMiB: number }
  readonly instances: Map<string, Instance>
  readonly pools: Map<string, Pool>
}

export const noCache = { heldMiB: 0, pinnedMiB: 0 } as const

/** A report that may be the first of its node. */
export type FirstReport = NodeReport & Required<Pick<NodeReport, 'url' | 'capacity'>>

export const newNode = ({
  nodeId,
  url,
  epoch,
  seq,
  accepting,
  cordon,
  capacity,
  pool,
  labels,
  cache,
}: FirstReport): Node => ({
  id: nodeId,
  url,
  epoch,
  seq,
  synced: true,
  accepting,
  cordon,
  unfit: undefined,
  capacity,
  nodePool: pool ?? 'default',
  labels: labels ?? {},
  lastSeen: 0,
  leasesCheckedAt: 0,
  suspectUntil: 0,
  usedMemoryMiB: 0,
  cache: cache ?? noCache,
  kept: { places: 0, memoryMiB: 0 },
  instances: new Map(),
  pools: new Map(),
  places: noPlaces(2),
})

export const newPool = (key: string, revision: RevisionRef, node: Node): Pool => ({
  key,
  functionKey: functionKey(revision),
  revision,
  node,
  instances: new Map(),
  leases: [],
  over: 0,
  foreign: 0,
  inherited: 0,
  idle: 0,
  starting: 0,
  inFlight: 0,
  slots: 0,
  idleSlots: 0,
  startingSlots: 0,
  lastIdleSince: 0,
  nextEndAt: Infinity,
  checkAt: Infinity,
  singleUse: false,
  outdated: false,
  places: noPlaces(3),
})

/** Takes placements. */
export const isOpen = (node: Node): boolean => node.accepting && node.cordon === undefined

/** Share of its memory that instances and the cache take. */
export const load = (node: Node): number => (node.usedMemoryMiB + node.cache.heldMiB) / node.capacity.memoryMiB

/** Memory for new instances, once the cache has given back what it can, and without what is kept for whoever reserved it. */
export const freeMiB = (node: Node): number =>
  node.capacity.memoryMiB - node.usedMemoryMiB - node.cache.pinnedMiB - node.kept.memoryMiB

/** Instances that may be started, besides those for which places are kept. */
export const freePlaces = (node: Node): number => node.capacity.instances - node.instances.size - node.kept.places

export const functionKey = ({ tenant, name }: Pick<RevisionRef, 'tenant' | 'name'>): string => `${tenant}/${name}`

/** Slots promised to someone: leases of this process and whatever else is in flight. */
export const spokenFor = (pool: Pool): number => pool.leases.length + pool.foreign

/**
 * Promised, but no instance has pulled the request yet, as far as reports tell. Negative: so many instances are idle by now, which the reports
 * do not tell yet.
 */
const pending = (pool: Pool): number => Math.max(-pool.over, spokenFor(pool) - pool.inFlight)

/**
 * Slots that one more invocation may take. A single-use instance is only good for its first batch: while it starts; what is over has
 * used one.
 */
export const freeSlots = (pool: Pool): number =>
  pool.singleUse ? pool.startingSlots - spokenFor(pool) - pool.over : pool.slots - spokenFor(pool)

/** Slots of idle instances that nobody is on the way to. */
export const freeIdleSlots = (pool: Pool): number =>
  pool.singleUse ? 0 : Math.min(pool.idleSlots - pending(pool), freeSlots(pool))

/** Longest idle first; ties by id, so that replicas agree. */
export const byIdleTime = (a: Instance, b: Instance): number => a.idleSince - b.idleSince || compareIds(a.id, b.id)

export const compareIds = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Idle instances that may end without taking a slot from anybody, longest idle first. */
export const spareInstances = (pool: Pool): Instance[] => {
  if (pool.idle === 0) return []
  let free = pool.slots - spokenFor(pool)
  const spare: Instance[] = []
  for (const instance of [...pool.instances.values()].filter(({ state }) => state === 'idle').toSorted(byIdleTime)) {
    free -= instance.policy.concurrency
    if (free < 0) break
    spare.push(instance)
  }
  return spare
}

/**
 * Epoch milliseconds at which an idle instance is over; one that may not be used again is over at once. By then its node has told if it was
 * used once more in its time.
 */
export const endsAt = ({ policy, idleSince, keepAliveMs }: Instance): number => {
  if (!policy.reuse) return 0
  const keptMs = keepAliveOf(policy, keepAliveMs)
  return idleSince + keptMs + (keptMs < briefMs ? 0 : toldWithinMs)
}

/** Recounts what changed with the pool's instances. */
export const recount = (pool: Pool): void => {
  pool.idle = pool.starting = pool.inFlight = 0
  pool.slots = pool.idleSlots = pool.startingSlots = pool.lastIdleSince = 0
  pool.nextEndAt = Infinity
  pool.singleUse = false
  for (const instance of pool.instances.values()) {
    const { state, inFlight, policy } = instance
    pool.slots += policy.concurrency
    pool.inFlight += inFlight
    pool.singleUse ||= !policy.reuse
    if (state === 'idle') {
      pool.idle++
      pool.idleSlots += policy.concurrency
      pool.lastIdleSince = Math.max(pool.lastIdleSince, instance.idleSince)
      pool.nextEndAt = pool.outdated ? 0 : Math.min(pool.nextEndAt, endsAt(instance))
    } else if (state === 'starting') {
      pool.starting++
      pool.startingSlots += policy.concurrency
    }
  }
}
