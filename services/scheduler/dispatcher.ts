/** Carries decisions out: takes the lease, books the start, tells the node. The answer never waits for a node. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../chassis/log.ts'
import { PlatformError } from '../contracts/errors.ts'
import type { NodeReport, StartInstance } from '../contracts/node.ts'
import type { Placement, PlacementRequest } from '../contracts/placement.ts'
import type { Fleet } from './fleet.ts'
import { instancesToEnd, outdated } from './lifecycle.ts'
import type { SchedulerMetrics } from './metrics.ts'
import type { NodeClient } from './node-client.ts'
import { place, type Decision } from './place.ts'
import type { Instance, Node } from './pool.ts'

export interface DispatcherDeps {
  readonly fleet: Fleet
  readonly nodes: NodeClient
  readonly metrics: SchedulerMetrics
  readonly logger: Logger
  readonly firstNodeWaitMs: number
  readonly now?: () => number
}

/** Placements that wait for the first node at the same time; more are refused at once. */
const maxWaiting = 10_000
/** A node whose start endpoint failed is the last choice for so long. */
const suspectMs = 2_000
/** A node that was told to make room may refuse until the ended instances are really gone. */
const roomRetries = 20
const roomRetryMs = 100
/** An instance that is over while an invocation may need it is looked at again after so long. */
const lookAgainMs = 100

type Start = Extract<Decision, { kind: 'start' }>

export class Dispatcher {
  readonly #deps: DispatcherDeps
  readonly #now: () => number
  #waiting = 0
  #wake = Promise.withResolvers<void>()
  readonly #closed = new AbortController()

  constructor(deps: DispatcherDeps) {
    this.#deps = deps
    this.#now = deps.now ?? Date.now
  }

  /**
   * At once where a node takes placements; otherwise once one does.
   *
   * @param gone tells whether the caller has hung up: nothing is started or lent for it any more.
   * @throws PlatformError NO_CAPACITY when nothing fits, or no node came before the bound or the deadline; DEADLINE_EXCEEDED.
   */
  place(request: PlacementRequest, gone: () => boolean = () => false): Placement | Promise<Placement> {
    if (request.deadlineAt <= this.#now()) throw new PlatformError('DEADLINE_EXCEEDED', 'the deadline has passed')
    return this.#deps.fleet.hasOpenNode() ? this.#place(request) : this.#placeLater(request, gone)
  }

  async #placeLater(request: PlacementRequest, gone: () => boolean): Promise<Placement> {
    await this.#openNode(request.deadlineAt)
    if (gone()) throw new PlatformError('DEADLINE_EXCEEDED', 'the caller did not wait for a node')
    return this.#place(request)
  }

  #place(request: PlacementRequest): Placement {
    const { fleet, metrics } = this.#deps
    fleet.release(request.invocationId)
    const decision = place(fleet.view, request, this.#now())
    metrics.placements.inc({ decision: decision.kind })
    if (decision.kind === 'none')
      throw new PlatformError('NO_CAPACITY', `no capacity: ${decision.reason}`, { memoryMiB: request.memoryMiB })
    if (decision.kind !== 'start') {
      fleet.lend(decision.pool, request, this.#now())
      return answer(request, decision.pool.node, decision)
    }
    this.#start(decision, request)
    return answer(request, decision.node, decision)
  }

  /** Takes a report in. @returns false when a full one is needed. */
  report(report: NodeReport): boolean {
    const { fleet, metrics } = this.#deps
    for (const { state, reason } of [...report.instances, ...(report.changed ?? [])])
      if (state === 'ended') metrics.instancesEnded.inc({ reason: reason ?? 'unknown' })
    const inOrder = fleet.apply(report, this.#now())
    if (fleet.hasOpenNode()) {
      this.#wake.resolve()
      this.#wake = Promise.withResolvers<void>()
    }
    this.#endIdle()
    return inOrder
  }

  /** Ends what is over by the clock alone: leases, silent nodes, idle instances. Call several times a second. */
  tick(nodeTimeoutMs: number): void {
    const { fleet, nodes, metrics, logger } = this.#deps
    for (const { id: nodeId, url } of fleet.expire(this.#now(), nodeTimeoutMs)) {
      metrics.lostNodes.inc()
      nodes.forget(url)
      logger.warn({ nodeId }, 'the node fell silent: its instances and leases are gone')
    }
    this.#endIdle()
  }

  close(): void {
    this.#closed.abort()
  }

  #start({ node, end }: Start, request: PlacementRequest): void {
    const { fleet } = this.#deps
    const { invocationId, revision, runtime, memoryMiB, policy, startWish } = request
    const forced = startWish === 'auto' ? {} : { forInvocation: invocationId }
    const command: StartInstance = {
      instanceId: randomUUID(),
      revision,
      runtime,
      memoryMiB,
      policy,
      startWish,
      ...forced,
    }
    for (const instance of end) fleet.drop(instance)
    const pool = fleet.book(node, command)
    fleet.lend(pool, request, this.#now())
    const cleared = Promise.all(end.map(async (instance) => this.#end(node, instance, 'reclaim')))
    for (const { instance, reason: why } of outdated(fleet.siblings(revision), pool.key)) {
      fleet.drop(instance)
      void this.#end(instance.pool.node, instance, why)
    }
    void cleared.then(async () => this.#command(node, command, end.length > 0))
  }

  /** Never rejects: a start that failed is booked out, and the node tells the gateway that no instance will come. */
  async #command(node: Node, command: StartInstance, madeRoom: boolean): Promise<void> {
    const { fleet, nodes, metrics, logger } = this.#deps
    for (let attempt = 0; ; attempt++) {
      try {
        await nodes.start(node.url, command)
        metrics.starts.inc({ answer: 'accepted' })
        return fleet.accepted(node.id, command.instanceId, this.#now())
      } catch (error) {
        const code = error instanceof PlatformError ? error.code : 'INTERNAL'
        if (code === 'NO_CAPACITY' && madeRoom && attempt < roomRetries && !this.#closed.signal.aborted) {
          await sleep(roomRetryMs, undefined, { ref: false })
          continue
        }
        metrics.starts.inc({ answer: code })
        logger.warn({ err: error, nodeId: node.id, instanceId: command.instanceId }, 'the node did not take the start')
        const booked = node.instances.get(command.instanceId)
        if (booked && !booked.confirmed) fleet.drop(booked)
        if (code === 'UNAVAILABLE') fleet.doubt(node.id)
        return fleet.suspect(node.id, this.#now() + suspectMs)
      }
    }
  }

  #endIdle(): void {
    const { fleet } = this.#deps
    for (const pool of fleet.dueForEnd(this.#now(), lookAgainMs))
      for (const { instance, reason } of instancesToEnd(pool, this.#now())) {
        fleet.drop(instance)
        void this.#end(pool.node, instance, reason)
      }
  }

  /** Never rejects: an instance that did not hear it is in the next full report, and is told again. */
  async #end(node: Node, instance: Instance, reason: string): Promise<void> {
    const { fleet, nodes, metrics, logger } = this.#deps
    metrics.ends.inc({ reason })
    try {
      await nodes.end(node.url, instance.id, reason)
    } catch (error) {
      fleet.doubt(node.id)
      logger.warn({ err: error, nodeId: node.id, instanceId: instance.id }, 'the node did not end the instance')
    }
  }

  async #openNode(deadlineAt: number): Promise<void> {
    const { fleet, firstNodeWaitMs } = this.#deps
    const waitMs = Math.min(firstNodeWaitMs, deadlineAt - this.#now())
    if (waitMs <= 0 || this.#waiting >= maxWaiting) return
    const over = AbortSignal.any([AbortSignal.timeout(waitMs), this.#closed.signal])
    const ended = new Promise<void>((resolve) => over.addEventListener('abort', () => resolve(), { once: true }))
    this.#waiting++
    try {
      while (!fleet.hasOpenNode() && !over.aborted) await Promise.race([this.#wake.promise, ended])
    } finally {
      this.#waiting--
    }
  }
}

const answer = (
  { invocationId }: PlacementRequest,
  node: Node,
  { kind, reason }: Exclude<Decision, { kind: 'none' }>,
): Placement => ({ invocationId, nodeId: node.id, nodeUrl: node.url, decision: kind, reason })
