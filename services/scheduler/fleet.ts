/**
 * Soft state: what nodes reported, plus what this process booked and lent since. Nothing here outlives the process; full reports
 * rebuild it within a second. Every method takes the time, so that tests own the clock.
 */
import type { InstanceReport, NodeReport, StartInstance } from '../contracts/node.ts'
import { revisionKey, type PlacementRequest, type RevisionRef } from '../contracts/placement.ts'
import { newNode, newPool, noCache, recount, type Instance, type Node, type Pool } from './pool.ts'

interface Lease {
  readonly pool: Pool
  readonly expiresAt: number
}

/** A lease outlives its deadline by this much: the node's report of the end is on its way. */
const leaseSlackMs = 2_000
/** A booking that a full report does not name so long after the node took it is gone. */
const confirmWithinMs = 1_000
/** Time in which a lent request surely reached the node. */
const deliveredWithinMs = 2_000

export class Fleet {
  readonly #nodes = new Map<string, Node>()
  /** Revision -> node -> pool. */
  readonly #pools = new Map<string, Map<string, Pool>>()
  /** Function and version -> keys of its revisions that have pools. */
  readonly #revisions = new Map<string, Set<string>>()
  readonly #leases = new Map<string, Lease>()
  readonly #cordoned = new Set<string>()

  nodes(): Iterable<Node> {
    return this.#nodes.values()
  }

  node(nodeId: string): Node | undefined {
    return this.#nodes.get(nodeId)
  }

  poolsOf(revision: RevisionRef): Iterable<Pool> {
    return this.#pools.get(revisionKey(revision))?.values() ?? []
  }

  /** Pools of every revision of the same function and version. */
  *siblings(revision: RevisionRef): Iterable<Pool> {
    for (const key of this.#revisions.get(functionKey(revision)) ?? []) yield* this.#pools.get(key)?.values() ?? []
  }

  get leaseCount(): number {
    return this.#leases.size
  }

  hasOpenNode(): boolean {
    for (const node of this.#nodes.values()) if (node.accepting && !node.cordoned) return true
    return false
  }

  /** @returns false when a report was lost: nothing but the ended invocations was taken from this one, a full one is needed. */
  apply(report: NodeReport, now: number): boolean {
    let node = this.#nodes.get(report.nodeId)
    if (node && node.epoch !== report.epoch) {
      // Another run of the agent: what the last one had died with it.
      this.removeNode(node.id)
      node = undefined
    }
    if (node && report.seq <= node.seq) return true
    for (const invocationId of report.endedInvocations) this.release(invocationId)
    if (!report.full && !(node?.synced && report.seq === node.seq + 1)) {
      if (node) node.synced = false
      return false
    }
    node ??= this.#addNode(report)
    node.lastSeen = now
    node.seq = report.seq
    node.synced = true
    node.url = report.url
    node.accepting = report.accepting
    node.capacity = report.capacity
    node.cache = report.cache ?? noCache
    if (report.full) this.#forgetMissing(node, report, now)
    const touched = new Set<Pool>()
    for (const instance of report.instances) touched.add(this.#applyInstance(node, instance, now))
    for (const pool of touched) this.#settle(pool)
    if (report.full) for (const pool of node.pools.values()) this.#dropLostLeases(pool, now)
    return true
  }

  /** Takes a slot of the pool; an older lease of the same invocation is over. */
  lend(pool: Pool, { invocationId, deadlineAt }: PlacementRequest, now: number): void {
    this.release(invocationId)
    pool.leases.set(invocationId, now)
    this.#leases.set(invocationId, { pool, expiresAt: deadlineAt + leaseSlackMs })
  }

  release(invocationId: string): boolean {
    const lease = this.#leases.get(invocationId)
    if (!lease) return false
    this.#leases.delete(invocationId)
    lease.pool.leases.delete(invocationId)
    this.#dropIfEmpty(lease.pool)
    return true
  }

  /** Books memory and a place for an instance that is about to be started. */
  book(node: Node, command: Omit<StartInstance, 'startWish'>): Pool {
    const pool = this.#pool(node, command.revision)
    this.#addInstance(pool, { ...command, state: 'starting', inFlight: 0 }, false)
    this.#settle(pool)
    return pool
  }

  /** The node took the start command. */
  accepted(nodeId: string, instanceId: string, now: number): void {
    const instance = this.#nodes.get(nodeId)?.instances.get(instanceId)
    if (instance) instance.acceptedAt = now
  }

  /** The start failed, or the instance is told to end: it counts no more. */
  drop(instance: Instance): void {
    const { pool } = instance
    if (!pool.instances.delete(instance.id)) return
    pool.node.instances.delete(instance.id)
    pool.node.usedMemoryMiB -= instance.memoryMiB
    this.#settle(pool)
    this.#dropIfEmpty(pool)
  }

  /** The node cannot be reached for starts: others are preferred for a while. */
  suspect(nodeId: string, until: number): void {
    const node = this.#nodes.get(nodeId)
    if (node) node.suspectUntil = until
  }

  /** A cordoned node keeps what it has and gets nothing new. Known to this process only. */
  cordon(nodeId: string, cordoned: boolean): boolean {
    const node = this.#nodes.get(nodeId)
    if (!node) return false
    node.cordoned = cordoned
    if (cordoned) this.#cordoned.add(nodeId)
    else this.#cordoned.delete(nodeId)
    return true
  }

  /** Ends leases past their deadline, and nodes that have been silent for too long. @returns ids of those nodes. */
  expire(now: number, nodeTimeoutMs: number): string[] {
    for (const [invocationId, { expiresAt }] of this.#leases) if (expiresAt <= now) this.release(invocationId)
    const lost = [...this.#nodes.values()].filter(({ lastSeen }) => now - lastSeen > nodeTimeoutMs).map(({ id }) => id)
    for (const nodeId of lost) this.removeNode(nodeId)
    return lost
  }

  /** Silence was ours, not theirs (NATS was away, or this process stood still): the nodes' time starts again. */
  excuse(now: number): void {
    for (const node of this.#nodes.values()) node.lastSeen = now
  }

  removeNode(nodeId: string): void {
    const node = this.#nodes.get(nodeId)
    if (!node) return
    for (const instance of node.instances.values()) this.drop(instance)
    for (const pool of node.pools.values()) for (const id of pool.leases.keys()) this.release(id)
    this.#nodes.delete(nodeId)
  }

  #addNode(report: NodeReport): Node {
    const node = newNode(report, this.#cordoned.has(report.nodeId))
    this.#nodes.set(node.id, node)
    return node
  }

  #pool(node: Node, revision: RevisionRef): Pool {
    const key = revisionKey(revision)
    const known = node.pools.get(key)
    if (known) return known
    const pool = newPool(key, revision, node)
    node.pools.set(key, pool)
    entryOf(this.#pools, key, () => new Map<string, Pool>()).set(node.id, pool)
    entryOf(this.#revisions, functionKey(revision), () => new Set<string>()).add(key)
    return pool
  }

  #addInstance(
    pool: Pool,
    from: Omit<InstanceReport, 'state'> & { state: Instance['state'] },
    confirmed: boolean,
  ): void {
    const { instanceId: id, memoryMiB, policy, state, inFlight, keepAliveMs } = from
    const idleSince = from.idleSince ?? 0
    const known = { id, pool, memoryMiB, policy, state, inFlight, idleSince, keepAliveMs }
    const instance: Instance = { ...known, confirmed, acceptedAt: undefined }
    pool.instances.set(id, instance)
    pool.node.instances.set(id, instance)
    pool.node.usedMemoryMiB += memoryMiB
  }

  #applyInstance(node: Node, report: InstanceReport, now: number): Pool {
    const { state } = report
    const known = node.instances.get(report.instanceId)
    const pool = known?.pool ?? this.#pool(node, report.revision)
    if (state === 'ended') {
      if (known) this.drop(known)
      return pool
    }
    if (!known) this.#addInstance(pool, { ...report, state }, true)
    const instance = node.instances.get(report.instanceId)
    if (instance) {
      instance.state = state
      instance.inFlight = report.inFlight
      instance.idleSince = Math.min(report.idleSince ?? now, now)
      instance.keepAliveMs = report.keepAliveMs
      instance.confirmed = true
    }
    return pool
  }

  /** A full report lists everything: what it does not name is gone, except bookings that it may have crossed on the way. */
  #forgetMissing(node: Node, report: NodeReport, now: number): void {
    const named = new Set(report.instances.map(({ instanceId }) => instanceId))
    for (const instance of node.instances.values()) {
      if (named.has(instance.id)) continue
      const { confirmed, acceptedAt } = instance
      if (confirmed || (acceptedAt !== undefined && now - acceptedAt > confirmWithinMs)) this.drop(instance)
    }
  }

  /**
   * Where an instance is idle nothing waits: leases that are neither in flight nor fresh lost the report of their end. Which of
   * them it was cannot be known and does not matter; the count does.
   */
  #dropLostLeases(pool: Pool, now: number): void {
    if (pool.idle === 0 && pool.instances.size > 0) return
    const old = [...pool.leases].filter(([, lentAt]) => now - lentAt > deliveredWithinMs)
    for (const [invocationId] of old.slice(0, Math.max(0, old.length - pool.inFlight))) this.release(invocationId)
  }

  #settle(pool: Pool): void {
    recount(pool)
    pool.foreign = Math.max(0, pool.inFlight - pool.leases.size)
    this.#dropIfEmpty(pool)
  }

  #dropIfEmpty(pool: Pool): void {
    if (pool.instances.size > 0 || pool.leases.size > 0) return
    if (pool.node.pools.get(pool.key) === pool) pool.node.pools.delete(pool.key)
    const nodes = this.#pools.get(pool.key)
    if (nodes?.get(pool.node.id) === pool) nodes.delete(pool.node.id)
    if (nodes && nodes.size === 0) {
      this.#pools.delete(pool.key)
      const keys = this.#revisions.get(functionKey(pool.revision))
      keys?.delete(pool.key)
      if (keys?.size === 0) this.#revisions.delete(functionKey(pool.revision))
    }
  }
}

const functionKey = ({ tenant, name, version }: RevisionRef): string => `${tenant}/${name}/${version}`

const entryOf = <V>(map: Map<string, V>, key: string, make: () => V): V => {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}
