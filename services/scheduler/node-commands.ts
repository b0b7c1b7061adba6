/** Tells nodes to start and to end instances, and books out what they did not take. No method rejects. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../chassis/log.ts'
import { PlatformError } from '../contracts/errors.ts'
import { keepAliveOf } from '../contracts/function.ts'
import { briefMs, type StartInstance } from '../contracts/node.ts'
import type { Fleet } from './fleet.ts'
import type { SchedulerMetrics } from './metrics.ts'
import type { NodeClient } from './node-client.ts'
import type { Instance, Node } from './pool.ts'

export interface NodeCommandsDeps {
  readonly fleet: Fleet
  readonly nodes: NodeClient
  readonly metrics: SchedulerMetrics
  readonly logger: Logger
  readonly now: () => number
  /** Of this scheduler, as the nodes are to know it. */
  readonly term: () => number
  /** A start was answered. */
  readonly answered: () => void
}

/** A node whose start endpoint failed is the last choice for so long. */
const suspectMs = 2_000
/** A node that was told to make room may refuse until the ended instances are really gone. */
const roomRetries = 20
const roomRetryMs = 100

export class NodeCommands {
  readonly #deps: NodeCommandsDeps
  #unanswered = 0
  #closed = false

  constructor(deps: NodeCommandsDeps) {
    this.#deps = deps
  }

  /** Starts that no node has answered yet: many of them mean that somebody is behind. */
  get unanswered(): number {
    return this.#unanswered
  }

  /** @param end instances of the node that make room, and are dropped from the fleet */
  async start(node: Node, command: StartInstance, end: readonly Instance[]): Promise<void> {
    this.#unanswered++
    try {
      if (end.length > 0) await Promise.all(end.map(async (instance) => this.end(instance, 'reclaim')))
      await this.#start(node, command, end.length > 0)
    } finally {
      this.#unanswered--
      this.#deps.answered()
    }
  }

  /** An instance that did not hear it is in the next full report, and is told again. One that was kept for long may stay a second longer. */
  async end(instance: Instance, reason: string): Promise<void> {
    const { fleet, nodes, metrics, logger, term } = this.#deps
    const { id, pool, policy, keepAliveMs } = instance
    const { node } = pool
    const hurry = reason !== 'keep-alive' || keepAliveOf(policy, keepAliveMs) < briefMs
    metrics.ends.inc({ reason })
    try {
      await nodes.end(node.url, id, reason, term(), hurry)
    } catch (error) {
      fleet.doubt(node.id)
      logger.warn({ err: error, nodeId: node.id, instanceId: id }, 'the node did not end the instance')
    }
  }

  close(): void {
    this.#closed = true
  }

  /** A start that failed is booked out, and the node tells the gateway that no instance will come. */
  async #start(node: Node, command: StartInstance, madeRoom: boolean): Promise<void> {
    const { fleet, nodes, metrics, logger, now, term } = this.#deps
    for (let attempt = 0; ; attempt++) {
      try {
        await nodes.start(node.url, command, term())
        metrics.starts.inc({ answer: 'accepted' })
        return fleet.accepted(node.id, command.instanceId, now())
      } catch (error) {
        const code = error instanceof PlatformError ? error.code : 'INTERNAL'
        if (code === 'NO_CAPACITY' && madeRoom && attempt < roomRetries && !this.#closed) {
          await sleep(roomRetryMs, undefined, { ref: false })
          continue
        }
        metrics.starts.inc({ answer: code })
        logger.warn({ err: error, nodeId: node.id, instanceId: command.instanceId }, 'the node did not take the start')
        const booked = node.instances.get(command.instanceId)
        if (booked && !booked.confirmed) fleet.drop(booked)
        if (code === 'UNAVAILABLE') fleet.doubt(node.id)
        return fleet.suspect(node.id, now() + suspectMs)
      }
    }
  }
}
