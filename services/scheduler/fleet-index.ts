/**
 * What placement looks at first, kept in order as the fleet changes, so that no placement looks at all nodes or all pools. Every change of
 * a node, a pool or an instance is told here before the next one.
 */
import type { RevisionRef } from '../contracts/placement.ts'
import { revisionKey } from '../contracts/placement.ts'
import type { ResourcePool } from '../contracts/resource-pool.ts'
import { NodeFilesBook } from './node-files.ts'
import { OrderedHeap } from './ordered-heap.ts'
import type { FleetView } from './place.ts'
import {
  byIdleTime,
  compareIds,
  freeIdleSlots,
  freeMiB,
  freePlaces,
  freeSlots,
  functionKey,
  isOpen,
  load,
} from './pool.ts'
import type { Instance, Node, Pool } from './pool.ts'
import { Provisioned } from './provisioned.ts'
import { Contention } from './resource-pools/contention.ts'
import { Reservations } from './resource-pools/reservations.ts'
import { Usage } from './resource-pools/usage.ts'

interface RevisionPools {
  readonly byNode: Map<string, Pool>
  readonly idle: OrderedHeap<Pool>
  readonly free: OrderedHeap<Pool>
}

/** Revisions of one function and version that have pools. */
interface Siblings {
  readonly keys: Set<string>
  /** The one that was started last; absent: none since any of them is known. */
  inUse: string | undefined
}

/** Nodes of one pool, and what is idle on them. */
interface NodesOfPool {
  open: number
  /** Open nodes with a place for one more instance. */
  readonly byLoad: OrderedHeap<Node>
  readonly byFreeMemory: OrderedHeap<Node>
  readonly idle: OrderedHeap<Instance>
}

const byRecentUse = (a: Pool, b: Pool): number => b.lastIdleSince - a.lastIdleSince || compareIds(a.node.id, b.node.id)
const byFreeSlots = (a: Pool, b: Pool): number => freeSlots(b) - freeSlots(a) || compareIds(a.node.id, b.node.id)
const byLoad = (a: Node, b: Node): number => load(a) - load(b) || compareIds(a.id, b.id)
const byFreeMemory = (a: Node, b: Node): number => freeMiB(b) - freeMiB(a) || compareIds(a.id, b.id)
const byCheck = (a: Pool, b: Pool): number =>
  a.checkAt - b.checkAt || compareIds(a.key, b.key) || compareIds(a.node.id, b.node.id)

const versionKey = ({ tenant, name, version }: RevisionRef): string => `${tenant}/${name}/${version}`

export class FleetIndex implements FleetView {
  readonly rules: readonly ResourcePool[]
  readonly usage: Usage
  readonly reservations: Reservations
  readonly contention: Contention
  readonly provisioned = new Provisioned()
  readonly files = new NodeFilesBook()
  readonly #revisions = new Map<string, RevisionPools>()
  /** By function and version. */
  readonly #siblings = new Map<string, Siblings>()
  /** Function -> its invocations that hold a slot, over all versions and nodes. */
  readonly #lent = new Map<string, number>()
  readonly #open = new Set<Node>()
  readonly #nodePools = new Map<string, NodesOfPool>()
  readonly #checks = new OrderedHeap(byCheck, 2)

  onFree: (pool: Pool) => void = () => undefined
  /** Something ended, or may be ended for something else. */
  onRoom: () => void = () => undefined

  constructor(rules: readonly ResourcePool[]) {
    this.rules = rules
    this.usage = new Usage(rules)
    this.reservations = new Reservations(this.usage, (node) => this.roomChanged(node))
    this.contention = new Contention(this.usage, this.reservations)
  }

  get openNodes(): number {
    return this.#open.size
  }

  /** @param pool of nodes; absent: in any */
  hasOpenNode(pool?: string): boolean {
    return pool === undefined ? this.#open.size > 0 : (this.#nodePools.get(pool)?.open ?? 0) > 0
  }

  poolsOf(revision: RevisionRef): Iterable<Pool> {
    return this.#revisions.get(revisionKey(revision))?.byNode.values() ?? []
  }

  poolOn(revision: RevisionRef, nodeId: string): Pool | undefined {
    return this.#revisions.get(revisionKey(revision))?.byNode.get(nodeId)
  }

  /** The revision, which has a pool, is the one in use. @returns pools of its version that are to be counted anew, where another one was in use */
  supersede(revision: RevisionRef): Pool[] {
    const siblings = this.#siblings.get(versionKey(revision))
    const own = revisionKey(revision)
    if (!siblings || siblings.inUse === own) return []
    siblings.inUse = own
    const pools = [...siblings.keys].flatMap((key) => [...(this.#revisions.get(key)?.byNode.values() ?? [])])
    for (const pool of pools) pool.outdated = pool.key !== own
    return pools
  }

  lentOf(revision: RevisionRef): number {
    return this.#lent.get(functionKey(revision)) ?? 0
  }

  lentOfRevision(revision: RevisionRef): number {
    let lent = 0
    for (const { leases, inherited } of this.poolsOf(revision)) lent += leases.length + inherited
    return lent
  }

  instancesOf(revision: RevisionRef): number {
    let instances = 0
    for (const pool of this.poolsOf(revision)) instances += pool.instances.size
    return instances
  }

  /** More, or fewer, invocations hold slots of the pool. */
  lentChanged({ functionKey: key }: Pool, by: number): void {
    if (by === 0) return
    const lent = (this.#lent.get(key) ?? 0) + by
    if (lent === 0) this.#lent.delete(key)
    else this.#lent.set(key, lent)
  }

  idlePools(revision: RevisionRef): Iterable<Pool> {
    return this.#revisions.get(revisionKey(revision))?.idle.inOrder() ?? []
  }

  freePools(revision: RevisionRef): Iterable<Pool> {
    return this.#revisions.get(revisionKey(revision))?.free.inOrder() ?? []
  }

  nodesByLoad(pool: string): Iterable<Node> {
    return this.#nodePools.get(pool)?.byLoad.inOrder() ?? []
  }

  nodesByFreeMemory(pool: string): Iterable<Node> {
    return this.#nodePools.get(pool)?.byFreeMemory.inOrder() ?? []
  }

  idleInstances(pool: string): Iterable<Instance> {
    return this.#nodePools.get(pool)?.idle.inOrder() ?? []
  }

  /** A pool in which some idle instance may be over by now; each once until `poolChanged`. */
  nextCheck(now: number): Pool | undefined {
    const pool = this.#checks.first()
    if (!pool || pool.checkAt > now) return undefined
    this.#checks.delete(pool)
    return pool
  }

  checkAgain(pool: Pool, at: number): void {
    pool.checkAt = at
    this.#checks.put(pool)
  }

  nodeChanged(node: Node): void {
    const open = isOpen(node)
    if (open !== this.#open.has(node)) {
      this.#setOpen(node, open)
      for (const pool of node.pools.values()) this.slotsChanged(pool)
    }
    this.usage.nodeChanged(node)
    this.roomChanged(node)
    this.reservations.nodeChanged(node)
  }

  /** Only what is free on the node. */
  roomChanged(node: Node): void {
    const { byLoad, byFreeMemory } = this.#nodePool(node.nodePool)
    if (this.#open.has(node) && freePlaces(node) > 0) {
      byLoad.put(node)
      byFreeMemory.put(node)
    } else {
      byLoad.delete(node)
      byFreeMemory.delete(node)
    }
  }

  nodeRemoved(node: Node): void {
    if (this.#open.has(node)) this.#setOpen(node, false)
    this.roomChanged(node)
    this.files.forget(node)
    this.usage.nodeRemoved(node)
    this.reservations.nodeRemoved(node)
  }

  #setOpen(node: Node, open: boolean): void {
    if (open) this.#open.add(node)
    else this.#open.delete(node)
    this.#nodePool(node.nodePool).open += open ? 1 : -1
    if (open) this.onRoom()
  }

  #nodePool(name: string): NodesOfPool {
    const known = this.#nodePools.get(name)
    if (known) return known
    const fresh = {
      open: 0,
      byLoad: new OrderedHeap(byLoad),
      byFreeMemory: new OrderedHeap(byFreeMemory, 1),
      idle: new OrderedHeap(byIdleTime),
    }
    this.#nodePools.set(name, fresh)
    return fresh
  }

  poolAdded(pool: Pool): void {
    const { key, revision, node } = pool
    const version = versionKey(revision)
    const siblings = this.#siblings.get(version) ?? { keys: new Set(), inUse: undefined }
    let pools = this.#revisions.get(key)
    if (!pools) {
      pools = { byNode: new Map(), idle: new OrderedHeap(byRecentUse), free: new OrderedHeap(byFreeSlots, 1) }
      this.#revisions.set(key, pools)
      siblings.keys.add(key)
      this.#siblings.set(version, siblings)
    }
    pool.outdated = siblings.inUse !== undefined && siblings.inUse !== key
    pools.byNode.set(node.id, pool)
  }

  /** The pool's instances changed, and with them maybe its slots. */
  poolChanged(pool: Pool): void {
    this.slotsChanged(pool)
    // A pool in steady use is looked at once in its keep-alive, too early, and then again.
    if (pool.idle > 0 && (!this.#checks.has(pool) || pool.nextEndAt < pool.checkAt))
      this.checkAgain(pool, pool.nextEndAt)
  }

  /** Only leases changed. */
  slotsChanged(pool: Pool): void {
    const pools = this.#revisions.get(pool.key)
    if (!pools) return
    const open = this.#open.has(pool.node)
    if (open && freeIdleSlots(pool) > 0) pools.idle.put(pool)
    else pools.idle.delete(pool)
    if (open && freeSlots(pool) > 0) {
      pools.free.put(pool)
      this.onFree(pool)
    } else pools.free.delete(pool)
  }

  poolRemoved(pool: Pool): void {
    this.#checks.delete(pool)
    const pools = this.#revisions.get(pool.key)
    if (pools?.byNode.get(pool.node.id) !== pool) return
    pools.idle.delete(pool)
    pools.free.delete(pool)
    pools.byNode.delete(pool.node.id)
    if (pools.byNode.size > 0) return
    this.#revisions.delete(pool.key)
    const name = versionKey(pool.revision)
    const siblings = this.#siblings.get(name)
    siblings?.keys.delete(pool.key)
    if (siblings?.keys.size === 0) this.#siblings.delete(name)
  }

  instanceAdded(instance: Instance): void {
    this.usage.added(instance)
    this.instanceChanged(instance)
    this.roomChanged(instance.pool.node)
    // It takes a place that was kept for it; before the node looks as if it had less than is kept.
    this.reservations.instanceAdded(instance)
    this.nodeChanged(instance.pool.node)
  }

  instanceChanged(instance: Instance): void {
    const { idle } = this.#nodePool(instance.pool.node.nodePool)
    if (instance.state === 'idle') {
      idle.put(instance)
      this.onRoom()
    } else idle.delete(instance)
  }

  instanceRemoved(instance: Instance): void {
    this.#nodePool(instance.pool.node.nodePool).idle.delete(instance)
    this.usage.removed(instance)
    this.nodeChanged(instance.pool.node)
    this.reservations.instanceRemoved(instance)
    this.onRoom()
  }
}
