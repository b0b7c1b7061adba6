/** Carries decisions out: takes the lease, books the start, tells the node. The answer never waits for a node. */
import { randomUUID } from 'node:crypto'
import type { Logger } from '../chassis/log.ts'
import type { ProvisionedState } from '../contracts/claims.ts'
import { PlatformError } from '../contracts/errors.ts'
import type { NodeReport, StartInstance } from '../contracts/node.ts'
import type { Placement, PlacementRequest, RevisionRef } from '../contracts/placement.ts'
import type { Fleet } from './fleet.ts'
import { instancesToEnd } from './lifecycle.ts'
import type { SchedulerMetrics } from './metrics.ts'
import type { NodeClient } from './node-client.ts'
import { NodeCommands } from './node-commands.ts'
import { place, throttle, type Decision } from './place.ts'
import type { Node, Pool } from './pool.ts'
import { Provisioner } from './provisioner.ts'
import { poolFor } from '../contracts/pool-assignment.ts'
import { WaitingPlacements, type WaitingLimits, type WaitingPlacement } from './waiting.ts'

export interface DispatcherDeps {
  readonly fleet: Fleet
  readonly nodes: NodeClient
  readonly metrics: SchedulerMetrics
  readonly logger: Logger
  readonly firstNodeWaitMs: number
  readonly waiting?: WaitingLimits
  /** Of this scheduler while it leads; absent: it always does. */
  readonly term?: () => number | undefined
  /** What is claimed for functions is known: idle instances that nobody claims may end. Absent: it is. */
  readonly claimsKnown?: () => boolean
  readonly now?: () => number
}

const defaultLimits: WaitingLimits = { all: 10_000, perFunction: 2_000 }
/**
 * Starts on their way at the same time. More would only be late: whoever comes then waits for a start to be answered, or for a slot, which
 * after a pause of this process come faster than starts do.
 */
const maxStarts = 256
/** For room that is to become free for a request, or that it leaves to others. */
const roomWaitMs = 10_000
/** An instance that is over while an invocation may need it is looked at again after so long. */
const lookAgainMs = 100

export class Dispatcher {
  readonly #deps: DispatcherDeps
  readonly #now: () => number
  readonly #commands: NodeCommands
  readonly #waiting: WaitingPlacements
  /** Pools that got a free slot since those who wait were last served. */
  readonly #freed = new Set<Pool>()
  readonly #provisioner: Provisioner
  #serving = false
  /** Nothing has ended since all who wait for room found none. */
  #full = false
  #lastTerm = 0

  constructor(deps: DispatcherDeps) {
    this.#deps = deps
    this.#now = deps.now ?? Date.now
    this.#waiting = new WaitingPlacements(deps.waiting ?? defaultLimits)
    const answered = (): void => this.#serve()
    // What was decided while it led is told under the term of then; nodes refuse it if that is over.
    const term = (): number => this.#term ?? this.#lastTerm
    this.#commands = new NodeCommands({ ...deps, now: this.#now, term, answered })
    this.#provisioner = new Provisioner(deps.fleet, this.#commands)
    deps.fleet.onFree = (pool) => {
      if (this.#waiting.size > 0) this.#freed.add(pool)
    }
    deps.fleet.onRoom = () => {
      this.#full = false
    }
  }

  get #term(): number | undefined {
    const { term } = this.#deps
    if (!term) return 0
    const now = term()
    if (now !== undefined) this.#lastTerm = now
    return now
  }

  /** @throws PlatformError NOT_LEADER */
  requireLead(): number {
    const term = this.#term
    if (term === undefined) throw new PlatformError('NOT_LEADER', 'this scheduler does not lead')
    return term
  }

  /** Leads no more: nobody is to wait here, and what was promised is known by whoever comes next from the nodes. */
  resign(): void {
    this.#waiting.failAll('NOT_LEADER', 'this scheduler leads no more')
    this.#deps.fleet.forgetPromises()
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * At once where a node takes placements and not too many starts are on their way; otherwise later.
   *
   * @param gone tells whether the caller has hung up: nothing is started or lent for it any more.
   * @throws PlatformError NOT_LEADER; NO_CAPACITY when nothing fits, or no node came before the bound; DEADLINE_EXCEEDED; TOO_MANY_REQUESTS when too
   *   many wait already, or as many as are reserved for the function run
   */
  place(request: PlacementRequest, gone: () => boolean = () => false): Placement | Promise<Placement> {
    this.requireLead()
    const now = this.#now()
    const { fleet, firstNodeWaitMs } = this.#deps
    if (request.deadlineAt <= now) throw new PlatformError('DEADLINE_EXCEEDED', 'the deadline has passed')
    fleet.release(request.invocationId)
    // Nothing is free for it, and whatever becomes free is for those who wait: this costs least when there is least time.
    this.#waiting.requireRoom(request.revision)
    if (!this.#hasOpenNode(request)) {
      const throttled = throttle(fleet.view, request)
      if (throttled) throw this.#refusal(throttled, request)
      const tooLate = { code: 'NO_CAPACITY', message: 'no node took placements in time' } as const
      return this.#waiting.add(request, Math.min(request.deadlineAt, now + firstNodeWaitMs), gone, { tooLate })
    }
    const placed = this.#tryToPlace(request, this.#mayStart)
    if (placed === undefined) return this.#waiting.add(request, request.deadlineAt, gone)
    if (!('kind' in placed)) return placed
    const tooLate = { code: 'NO_CAPACITY', message: `no capacity in time: ${placed.reason}` } as const
    const begin = this.#beginToWait(placed, request)
    return this.#waiting.add(request, Math.min(request.deadlineAt, now + roomWaitMs), gone, { tooLate, begin })
  }

  /** How far the instances of a provisioned revision are. */
  provisioned(revision: RevisionRef): ProvisionedState {
    return this.#provisioner.state(revision)
  }

  #beginToWait({ inPool, right }: Wait, request: PlacementRequest): (() => () => void) | undefined {
    if (right === undefined) return undefined
    return () => {
      const over = this.#deps.fleet.waitForRoom(inPool, request, right, this.#now())
      return () => {
        // Who left the room to it may have it now.
        this.#full = false
        over()
      }
    }
  }

  /** Of the pool that the request is for. */
  #hasOpenNode(request: PlacementRequest): boolean {
    const { fleet } = this.#deps
    const pool = poolFor(fleet.view.rules, request)
    return pool === undefined || fleet.hasOpenNode(pool)
  }

  /** Takes a report in. @returns false when a full one is needed. */
  report(report: NodeReport): boolean {
    const { fleet, nodes, metrics } = this.#deps
    for (const { state, reason } of [...report.instances, ...(report.changed ?? [])])
      if (state === 'ended') metrics.instancesEnded.inc({ reason: reason ?? 'unknown' })
    const before = fleet.node(report.nodeId)?.url
    const inOrder = fleet.apply(report, this.#now())
    // An agent that began anew may be somewhere else.
    if (before !== undefined && before !== fleet.node(report.nodeId)?.url) nodes.forget(before)
    this.#serve()
    this.#endIdle()
    return inOrder
  }

  /** The invocations hold their slots no longer. */
  over(invocationIds: readonly string[]): void {
    for (const invocationId of invocationIds) this.#deps.fleet.over(invocationId, this.#now())
    this.#serve()
  }

  /** Ends what is over by the clock alone: leases, silent nodes, idle instances, waiting. Call several times a second. */
  tick(nodeTimeoutMs: number): void {
    const { fleet, nodes, metrics, logger } = this.#deps
    for (const { id: nodeId, url } of fleet.expire(this.#now(), nodeTimeoutMs)) {
      metrics.lostNodes.inc()
      nodes.forget(url)
      logger.warn({ nodeId }, 'the node fell silent: its instances and leases are gone')
    }
    this.#full = false
    this.#waiting.expire(this.#now(), fleet.hasOpenNode())
    if (this.#term !== undefined)
      for (const instance of fleet.keepReserved(this.#now())) void this.#commands.end(instance, 'reclaim')
    this.#serve()
    this.#endIdle()
    if (this.#term !== undefined) this.#provisioner.tick(this.#now())
  }

  close(): void {
    this.#commands.close()
    this.#waiting.close()
  }

  get #mayStart(): boolean {
    return this.#commands.unanswered < maxStarts
  }

  /** @returns nothing when it would take a start, and may not. @throws PlatformError NO_CAPACITY, TOO_MANY_REQUESTS */
  #tryToPlace(request: PlacementRequest, mayStart: boolean): Placement | Wait | undefined {
    const { fleet, metrics } = this.#deps
    const decision = place(fleet.view, request, this.#now())
    if (decision.kind === 'start' && !mayStart) return undefined
    if (decision.kind === 'wait') return decision
    if (decision.kind === 'none' || decision.kind === 'throttled') throw this.#refusal(decision, request)
    metrics.placements.inc({ decision: decision.kind })
    if (decision.kind === 'start') this.#start(decision, request)
    else fleet.lend(decision.pool, request, this.#now())
    return answer(request, decision.kind === 'start' ? decision.node : decision.pool.node, decision)
  }

  #refusal(refused: Refused, { memoryMiB, reservedConcurrency }: PlacementRequest): PlatformError {
    const { kind, reason } = refused
    this.#deps.metrics.placements.inc({ decision: kind })
    if (kind === 'none') return new PlatformError('NO_CAPACITY', `no capacity: ${reason}`, { memoryMiB })
    const { limit } = refused
    const details = limit === 'reservedConcurrency' ? { limit, reservedConcurrency } : { limit }
    return new PlatformError('TOO_MANY_REQUESTS', `Rate exceeded: ${reason}`, details)
  }

  #start({ node, end }: Extract<Decision, { kind: 'start' }>, request: PlacementRequest): void {
    const { fleet } = this.#deps
    const { invocationId, revision, runtime, memoryMiB, policy, startWish } = request
    const forced = startWish === 'auto' ? {} : { forInvocation: invocationId }
    const instanceId = randomUUID()
    const command: StartInstance = { instanceId, revision, runtime, memoryMiB, policy, startWish, ...forced }
    for (const instance of end) fleet.drop(instance)
    fleet.lend(fleet.book(node, command), request, this.#now())
    for (const pool of fleet.supersede(revision)) this.#endOver(pool)
    void this.#commands.start(node, command, end)
  }

  /** Those who wait for a slot that is free now, then those whose turn it is to start. */
  #serve(): void {
    if (this.#waiting.size === 0 || this.#serving || this.#term === undefined) return
    this.#serving = true
    try {
      for (const { key, revision } of this.#freed)
        for (
          let item = this.#waiting.first(revision.tenant, key);
          item;
          item = this.#waiting.first(revision.tenant, key)
        )
          if (!this.#answer(item, false)) break
      this.#freed.clear()
      if (!this.#deps.fleet.hasOpenNode()) return
      // Each tenant once: what one waits for may be there for another.
      for (let missed = 0; this.#mayStart && !this.#full;) {
        const item = this.#waiting.next()
        if (!item) return
        if (this.#answer(item, true)) missed = 0
        else if (++missed >= this.#waiting.tenants) this.#full = true
      }
    } finally {
      this.#serving = false
    }
  }

  /** @returns false when it waits on */
  #answer(item: WaitingPlacement, mayStart: boolean): boolean {
    try {
      if (!this.#hasOpenNode(item.request)) return false
      const placement = this.#tryToPlace(item.request, mayStart)
      if (!placement) return false
      if ('kind' in placement) {
        item.over ??= this.#beginToWait(placement, item.request)?.()
        return false
      }
      this.#waiting.remove(item)
      item.resolve(placement)
    } catch (error) {
      this.#waiting.remove(item)
      item.reject(error as PlatformError)
    }
    return true
  }

  #endIdle(): void {
    const { fleet, claimsKnown } = this.#deps
    if (this.#term === undefined || claimsKnown?.() === false) return
    for (const pool of fleet.dueForEnd(this.#now(), lookAgainMs)) this.#endOver(pool)
  }

  /** Those of its idle instances that end now. */
  #endOver(pool: Pool): void {
    const { fleet } = this.#deps
    for (const { instance, reason } of instancesToEnd(pool, this.#now(), fleet.unprovisioned(pool.revision))) {
      fleet.drop(instance)
      void this.#commands.end(instance, reason)
    }
  }
}

type Refused = Extract<Decision, { kind: 'none' | 'throttled' }>
type Wait = Extract<Decision, { kind: 'wait' }>

const answer = (
  { invocationId }: PlacementRequest,
  node: Node,
  { kind, reason }: Exclude<Decision, Refused | Wait>,
): Placement => ({ invocationId, nodeId: node.id, nodeUrl: node.url, decision: kind, reason })
