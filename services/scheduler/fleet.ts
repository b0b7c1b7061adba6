/**
 * Soft state: what nodes reported, plus what this process booked and lent since. Nothing here outlives the process; full reports
 * rebuild it within a second. Every method takes the time, so that tests own the clock.
 */
import type { FunctionClaim } from '../contracts/claims.ts'
import type { NodeFiles } from '../contracts/code-images.ts'
import type { InstanceChange, InstanceReport, NodeReport, StartInstance } from '../contracts/node.ts'
import { revisionKey, type PlacementRequest, type RevisionRef } from '../contracts/placement.ts'
import type { ResourcePool } from '../contracts/resource-pool.ts'
import { roomFor } from './find-node.ts'
import { FleetIndex } from './fleet-index.ts'
import { LeaseBook } from './lease-book.ts'
import { noPlaces } from './ordered-heap.ts'
import type { FleetView } from './place.ts'
import { newNode, newPool, noCache, recount, type FirstReport, type Instance, type Node, type Pool } from './pool.ts'
import { instancesFor } from './provisioned.ts'
import { poolFor } from '../contracts/pool-assignment.ts'
import type { Right } from './resource-pools/contention.ts'

/** A booking that a full report does not name so long after the node took it is gone. */
const confirmWithinMs = 1_000
/** How often the leases of a node are compared with what it reports. */
const leasesCheckMs = 1_000
/** Reservations for which room is looked for at a time. */
const mostReservationsAtOnce = 16

const isFirst = (report: NodeReport): report is FirstReport => report.url !== undefined && report.capacity !== undefined

export class Fleet {
  readonly #nodes = new Map<string, Node>()
  readonly #index: FleetIndex
  readonly #leases: LeaseBook
  #latestTerm = 0

  /** @param rules of the pools of nodes; none: all functions run in `default`, or in the pool that they chose */
  constructor(rules: readonly ResourcePool[] = []) {
    this.#index = new FleetIndex(rules)
    this.#leases = new LeaseBook((pool, by) => this.#index.lentChanged(pool, by))
    for (const { name: pool, reserved = {} } of rules)
      for (const [tenant, { instances: places, memoryMiB }] of Object.entries(reserved))
        this.#index.reservations.reserve({ pool, tenant, places, memoryMiB })
  }

  /** Told when a pool has a free slot after a change. */
  set onFree(tell: (pool: Pool) => void) {
    this.#index.onFree = tell
  }

  /** Told when something ended, or may be ended for something else. */
  set onRoom(tell: () => void) {
    this.#index.onRoom = tell
  }

  /** What placement decides from. */
  get view(): FleetView {
    return this.#index
  }

  nodes(): Iterable<Node> {
    return this.#nodes.values()
  }

  node(nodeId: string): Node | undefined {
    return this.#nodes.get(nodeId)
  }

  poolsOf(revision: RevisionRef): Iterable<Pool> {
    return this.#index.poolsOf(revision)
  }

  /**
   * The revision is the one in use: what other revisions of the same version have ends, also what is busy by now.
   *
   * @returns their pools, where another one was in use
   */
  supersede(revision: RevisionRef): Pool[] {
    const pools = this.#index.supersede(revision)
    for (const pool of pools) this.#settle(pool)
    return pools.filter(({ outdated }) => outdated)
  }

  get leaseCount(): number {
    return this.#leases.size
  }

  get openNodes(): number {
    return this.#index.openNodes
  }

  /** @param pool of nodes; absent: in any */
  hasOpenNode(pool?: string): boolean {
    return this.#index.hasOpenNode(pool)
  }

  /** Where others wait for what the request is to leave them, or it for them. @returns what ends the waiting */
  waitForRoom(pool: string, request: PlacementRequest, right: Right, now: number): () => void {
    return this.#index.contention.wait(pool, request, right, now)
  }

  /** Instances of the revision that are not provisioned. */
  unprovisioned(revision: RevisionRef): number {
    const wanted = this.#index.provisioned.wantedOf(revision)
    return wanted === 0 ? Infinity : this.#index.instancesOf(revision) - wanted
  }

  /** What is claimed for a function from now on. */
  claim(claim: FunctionClaim): void {
    const { needs, reservedConcurrency = 0, provisioned } = claim
    const { tenant, name } = needs.revision
    const pool = poolFor(this.#index.rules, needs)
    this.#index.provisioned.set(needs.revision, provisioned)
    this.#index.reservations.free(tenant, name)
    if (pool === undefined) return
    const places = instancesFor(reservedConcurrency, needs.policy.concurrency)
    this.#index.reservations.reserve({ pool, tenant, name, places, memoryMiB: needs.memoryMiB })
  }

  /**
   * Keeps room for what is reserved and was not found so far. To be called several times a second.
   *
   * @returns idle instances that are dropped for that, and are to be told to end
   */
  keepReserved(now: number): Instance[] {
    const ended: Instance[] = []
    for (const reservation of this.#index.reservations.wanted(mostReservationsAtOnce))
      for (let more = true; more;) {
        const room = roomFor(this.#index, reservation, now)
        if (!room) break
        for (const instance of room.end) this.drop(instance)
        ended.push(...room.end)
        more = this.#index.reservations.keep(reservation, room.node)
      }
    return ended
  }

  /** Each pool in which some idle instance may be over; told again at its next end, or after `again` ms when nothing was dropped. */
  *dueForEnd(now: number, againMs: number): Iterable<Pool> {
    for (let pool = this.#index.nextCheck(now); pool; pool = this.#index.nextCheck(now)) {
      yield pool
      if (pool.idle > 0) this.#index.checkAgain(pool, Math.max(pool.nextEndAt, now + againMs))
    }
  }

  /** @returns false when a report was lost: nothing but the ended invocations was taken from this one, a full one is needed. */
  apply(report: NodeReport, now: number): boolean {
    this.#latestTerm = Math.max(this.#latestTerm, report.term ?? 0)
    let node = this.#nodes.get(report.nodeId)
    let isNew = false
    if (node && (node.epoch !== report.epoch || (report.pool ?? node.nodePool) !== node.nodePool)) {
      // Another run of the agent: what the last one had died with it. What moves to another pool begins anew there as well.
      this.removeNode(node.id)
      node = undefined
    }
    if (node && report.seq <= node.seq) return true
    const gaveBack = new Set<Pool>()
    for (const invocationId of report.endedInvocations) {
      const pool = this.#leases.end(invocationId)
      if (!pool) continue
      // Of a revision there is one pool on a node: no order has two changes at a time.
      if (pool.node === node) gaveBack.add(pool)
      else this.#gaveBack(pool)
    }
    if (!report.full && !(node?.synced && report.seq === node.seq + 1)) {
      if (node) node.synced = false
      for (const pool of gaveBack) this.#gaveBack(pool)
      return false
    }
    if (!node) {
      if (!isFirst(report)) return false
      node = newNode(report)
      this.#nodes.set(node.id, node)
      isNew = true
    }
    node.lastSeen = now
    node.seq = report.seq
    node.synced = true
    node.url = report.url ?? node.url
    node.accepting = report.accepting
    node.cordon = report.cordon
    node.capacity = report.capacity ?? node.capacity
    node.labels = report.labels ?? node.labels
    node.cache = report.cache ?? noCache
    this.#index.nodeChanged(node)
    if (report.full) this.#forgetMissing(node, report, now)
    const touched = new Set<Pool>()
    for (const instance of report.instances) touched.add(this.#applyInstance(node, instance, now))
    for (const change of report.changed ?? []) {
      const known = node.instances.get(change.instanceId)
      // One that was told to end is known no more; if it did not hear, the next full report has it.
      if (known) touched.add(this.#change(known, change, now))
    }
    for (const pool of touched) this.#settle(pool)
    for (const pool of gaveBack) if (!touched.has(pool)) this.#gaveBack(pool)
    if (isNew) this.#inheritAll(node)
    if (now - node.leasesCheckedAt >= leasesCheckMs) {
      node.leasesCheckedAt = now
      for (const pool of node.pools.values())
        for (const invocationId of this.#leases.lost(pool, now)) this.release(invocationId)
    }
    return true
  }

  /** Takes a slot of the pool; an older lease of the same invocation is over. */
  lend(pool: Pool, { invocationId, deadlineAt }: PlacementRequest, now: number): void {
    this.release(invocationId)
    this.#leases.begin(pool, invocationId, deadlineAt, now)
    this.#index.slotsChanged(pool)
  }

  /** The node told that the invocation has ended, or it never comes there. */
  release(invocationId: string): boolean {
    const pool = this.#leases.end(invocationId)
    if (pool) this.#gaveBack(pool)
    return pool !== undefined
  }

  /** A gateway told that the invocation holds its slot no longer. Its node tells that later, and counts it as in flight until then. */
  over(invocationId: string, now: number): void {
    const pool = this.#leases.over(invocationId, now)
    if (pool) this.#gaveBack(pool)
  }

  #gaveBack(pool: Pool): void {
    this.#index.slotsChanged(pool)
    this.#dropIfEmpty(pool)
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
    this.#index.instanceRemoved(instance)
    this.#settle(pool)
    this.#dropIfEmpty(pool)
  }

  /** The node cannot be reached for starts: others are preferred for a while. */
  suspect(nodeId: string, until: number): void {
    const node = this.#nodes.get(nodeId)
    if (node) node.suspectUntil = until
  }

  /** It is not known whether the node heard a command: what it has is taken from its next full report alone, which is asked for. */
  doubt(nodeId: string): void {
    const node = this.#nodes.get(nodeId)
    if (node) node.synced = false
  }

  /** The latest term of a scheduler that a node told of. */
  get latestTerm(): number {
    return this.#latestTerm
  }

  /** All leases, and starts that no report has named: another scheduler decides, and the nodes know what there is. */
  forgetPromises(): void {
    for (const invocationId of this.#leases.invocationIds()) this.release(invocationId)
    for (const node of this.#nodes.values())
      for (const instance of node.instances.values()) if (!instance.confirmed) this.drop(instance)
  }

  /** From now on this process lends: whatever is in flight was lent by another, and counts for its function. */
  inherit(): void {
    for (const node of this.#nodes.values()) this.#inheritAll(node)
  }

  /** For which revisions a node that is known has files. */
  files(files: NodeFiles): void {
    const node = this.#nodes.get(files.nodeId)
    if (node) this.#index.files.told(node, files)
  }

  /** Ends leases past their deadline, and nodes that have been silent for too long. @returns those nodes. */
  expire(now: number, nodeTimeoutMs: number): Node[] {
    for (const invocationId of this.#leases.due(now)) this.release(invocationId)
    const lost = [...this.#nodes.values()].filter(({ lastSeen }) => now - lastSeen > nodeTimeoutMs)
    for (const { id } of lost) this.removeNode(id)
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
    for (const { leases } of node.pools.values())
      for (let lease = leases.at(-1); lease; lease = leases.at(-1)) this.release(lease.invocationId)
    this.#nodes.delete(nodeId)
    this.#index.nodeRemoved(node)
  }

  #pool(node: Node, revision: RevisionRef): Pool {
    const key = revisionKey(revision)
    const known = node.pools.get(key)
    if (known) return known
    const pool = newPool(key, revision, node)
    node.pools.set(key, pool)
    this.#index.poolAdded(pool)
    return pool
  }

  #addInstance(
    pool: Pool,
    from: Omit<InstanceReport, 'state'> & { state: Instance['state'] },
    confirmed: boolean,
  ): Instance {
    const { instanceId: id, memoryMiB, policy, state, inFlight, keepAliveMs } = from
    const idleSince = from.idleSince ?? 0
    const known = { id, pool, memoryMiB, policy, state, inFlight, idleSince, keepAliveMs }
    const instance: Instance = { ...known, confirmed, acceptedAt: undefined, places: noPlaces(1) }
    pool.instances.set(id, instance)
    pool.node.instances.set(id, instance)
    pool.node.usedMemoryMiB += memoryMiB
    this.#index.instanceAdded(instance)
    return instance
  }

  #applyInstance(node: Node, report: InstanceReport, now: number): Pool {
    const known = node.instances.get(report.instanceId)
    const pool = known?.pool ?? this.#pool(node, report.revision)
    const { state } = report
    if (known) return this.#change(known, report, now)
    if (state !== 'ended') this.#change(this.#addInstance(pool, { ...report, state }, true), report, now)
    return pool
  }

  #change(instance: Instance, { state, inFlight, idleSince, keepAliveMs }: InstanceChange, now: number): Pool {
    if (state === 'ended') {
      this.drop(instance)
      return instance.pool
    }
    instance.state = state
    instance.inFlight = inFlight
    instance.idleSince = Math.min(idleSince ?? now, now)
    instance.keepAliveMs = keepAliveMs
    instance.confirmed = true
    this.#index.instanceChanged(instance)
    return instance.pool
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

  #settle(pool: Pool): void {
    recount(pool)
    pool.foreign = Math.max(0, pool.inFlight - pool.leases.length - pool.over)
    this.#inherit(pool, Math.min(pool.inherited, pool.foreign))
    this.#index.poolChanged(pool)
    this.#dropIfEmpty(pool)
  }

  #inheritAll(node: Node): void {
    for (const pool of node.pools.values()) this.#inherit(pool, pool.foreign)
  }

  /**
   * Not all that is foreign: also an own invocation looks so for a moment, when its caller has given the slot back and its node has not reported
   * that yet. A function would be throttled for nothing.
   */
  #inherit(pool: Pool, inherited: number): void {
    this.#index.lentChanged(pool, inherited - pool.inherited)
    pool.inherited = inherited
  }

  #dropIfEmpty(pool: Pool): void {
    if (pool.instances.size > 0 || pool.leases.length > 0) return
    if (pool.node.pools.get(pool.key) === pool) pool.node.pools.delete(pool.key)
    this.#index.poolRemoved(pool)
  }
}
