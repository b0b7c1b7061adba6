/**
 * What placement looks at first, kept in order as the fleet changes, so that no placement looks at all nodes or all pools. Every change of
 * a node, a pool or an instance is told here before the next one.
 */
import type { RevisionRef } from '../contracts/placement.ts'
import { revisionKey } from '../contracts/placement.ts'
import { OrderedHeap } from './ordered-heap.ts'
import { byIdleTime, compareIds, freeIdleSlots, freeMiB, freeSlots, isOpen, load } from './pool.ts'
import type { Instance, Node, Pool } from './pool.ts'

interface RevisionPools {
  readonly byNode: Map<string, Pool>
  readonly idle: OrderedHeap<Pool>
  readonly free: OrderedHeap<Pool>
}

const byRecentUse = (a: Pool, b: Pool): number => b.lastIdleSince - a.lastIdleSince || compareIds(a.node.id, b.node.id)
const byFreeSlots = (a: Pool, b: Pool): number => freeSlots(b) - freeSlots(a) || compareIds(a.node.id, b.node.id)
const byLoad = (a: Node, b: Node): number => load(a) - load(b) || compareIds(a.id, b.id)
const byFreeMemory = (a: Node, b: Node): number => freeMiB(b) - freeMiB(a) || compareIds(a.id, b.id)
const byCheck = (a: Pool, b: Pool): number =>
  a.checkAt - b.checkAt || compareIds(a.key, b.key) || compareIds(a.node.id, b.node.id)

const versionKey = ({ tenant, name, version }: RevisionRef): string => `${tenant}/${name}/${version}`
const functionKey = ({ tenant, name }: RevisionRef): string => `${tenant}/${name}`

export class FleetIndex {
  readonly #revisions = new Map<string, RevisionPools>()
  /** Function and version -> keys of its revisions that have pools. */
  readonly #siblings = new Map<string, Set<string>>()
  /** Function -> its invocations that hold a slot, over all versions and nodes. */
  readonly #lent = new Map<string, number>()
  readonly #open = new Set<Node>()
  /** Open nodes with a place for one more instance. */
  readonly #byLoad = new OrderedHeap(byLoad)
  readonly #byFreeMemory = new OrderedHeap(byFreeMemory)
  readonly #idleInstances = new OrderedHeap(byIdleTime)
  readonly #checks = new OrderedHeap(byCheck)

  onFree: (pool: Pool) => void = () => undefined

  hasOpenNode(): boolean {
    return this.#open.size > 0
  }

  poolsOf(revision: RevisionRef): Iterable<Pool> {
    return this.#revisions.get(revisionKey(revision))?.byNode.values() ?? []
  }

  poolOn(revision: RevisionRef, nodeId: string): Pool | undefined {
    return this.#revisions.get(revisionKey(revision))?.byNode.get(nodeId)
  }

  /** Pools of the other revisions of the same function and version. */
  *otherRevisions(revision: RevisionRef): Iterable<Pool> {
    const keys = this.#siblings.get(versionKey(revision))
    if (!keys || keys.size < 2) return
    const own = revisionKey(revision)
    for (const key of keys) if (key !== own) yield* this.#revisions.get(key)?.byNode.values() ?? []
  }

  lentOf(revision: RevisionRef): number {
    return this.#lent.get(functionKey(revision)) ?? 0
  }

  /** More, or fewer, invocations hold slots of the pool. */
  lentChanged({ revision }: Pool, by: number): void {
    const key = functionKey(revision)
    const lent = this.lentOf(revision) + by
    if (lent === 0) this.#lent.delete(key)
    else this.#lent.set(key, lent)
  }

  idlePools(revision: RevisionRef): Iterable<Pool> {
    return this.#revisions.get(revisionKey(revision))?.idle.inOrder() ?? []
  }

  freePools(revision: RevisionRef): Iterable<Pool> {
    return this.#revisions.get(revisionKey(revision))?.free.inOrder() ?? []
  }

  nodesByLoad(): Iterable<Node> {
    return this.#byLoad.inOrder()
  }

  nodesByFreeMemory(): Iterable<Node> {
    return this.#byFreeMemory.inOrder()
  }

  idleInstances(): Iterable<Instance> {
    return this.#idleInstances.inOrder()
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
      if (open) this.#open.add(node)
      else this.#open.delete(node)
      for (const pool of node.pools.values()) this.slotsChanged(pool)
    }
    if (open && node.instances.size < node.capacity.instances) {
      this.#byLoad.put(node)
      this.#byFreeMemory.put(node)
    } else {
      this.#byLoad.delete(node)
      this.#byFreeMemory.delete(node)
    }
  }

  nodeRemoved(node: Node): void {
    this.#open.delete(node)
    this.#byLoad.delete(node)
    this.#byFreeMemory.delete(node)
  }

  poolAdded(pool: Pool): void {
    const { key, revision, node } = pool
    let pools = this.#revisions.get(key)
    if (!pools) {
      pools = { byNode: new Map(), idle: new OrderedHeap(byRecentUse), free: new OrderedHeap(byFreeSlots) }
      this.#revisions.set(key, pools)
      const siblings = this.#siblings.get(versionKey(revision)) ?? new Set<string>()
      this.#siblings.set(versionKey(revision), siblings.add(key))
    }
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
    const keys = this.#siblings.get(name)
    keys?.delete(pool.key)
    if (keys?.size === 0) this.#siblings.delete(name)
  }

  instanceChanged(instance: Instance): void {
    if (instance.state === 'idle') this.#idleInstances.put(instance)
    else this.#idleInstances.delete(instance)
  }

  instanceRemoved(instance: Instance): void {
    this.#idleInstances.delete(instance)
  }
}
