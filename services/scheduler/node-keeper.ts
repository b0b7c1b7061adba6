/** Cordons, drains and uncordons nodes: for operators, and by itself where a node's starts fail. The node keeps its cordon and reports it. */
import type { Logger } from '../chassis/log.ts'
import { PlatformError } from '../contracts/errors.ts'
import type { Cordon, NodeReport } from '../contracts/node.ts'
import type { Fleet } from './fleet.ts'
import type { SchedulerMetrics } from './metrics.ts'
import type { NodeClient } from './node-client.ts'
import { isOpen, type Node } from './pool.ts'
import { StartHealth } from './start-health.ts'

export interface NodeKeeperDeps {
  readonly fleet: Pick<Fleet, 'node' | 'nodes'>
  readonly nodes: Pick<NodeClient, 'cordon' | 'end'>
  readonly metrics: Pick<SchedulerMetrics, 'selfCordons'>
  readonly logger: Logger
  /** Only who leads cordons by itself. */
  readonly leads: () => boolean
  readonly term: () => number
}

export class NodeKeeper {
  readonly #deps: NodeKeeperDeps
  readonly #health = new StartHealth()
  /** Nodes that are being cordoned. */
  readonly #cordoning = new Set<string>()

  constructor(deps: NodeKeeperDeps) {
    this.#deps = deps
  }

  /** Takes a report in, after the fleet has. */
  heard(report: NodeReport): void {
    const node = this.#deps.fleet.node(report.nodeId)
    if (!node) return
    const failures = this.#health.heard(node, report)
    if (failures === undefined || !isOpen(node) || !this.#deps.leads() || this.#cordoning.has(node.id)) return
    const reason = `${failures} starts of sandboxes failed in a row`
    if (this.#isLast(node)) {
      if (node.unfit === undefined) {
        this.#deps.metrics.selfCordons.inc({ answer: 'no' })
        this.#deps.logger.error({ nodeId: node.id, reason }, 'not cordoned: no other node of its pool takes starts')
      }
      node.unfit = reason
      return
    }
    void this.#cordonByItself(node, reason)
  }

  /** @throws PlatformError NOT_FOUND; NOT_LEADER; UNAVAILABLE when the node does not answer */
  async cordon(nodeId: string, by: Cordon['by'], reason: string): Promise<void> {
    const { url } = this.#node(nodeId)
    await this.#deps.nodes.cordon(url, { by, reason, since: Date.now() })
    this.#deps.logger.warn({ nodeId, by, reason }, 'cordoned a node')
  }

  /** Resolves when every instance was told to end: idle ones are gone soon, busy ones after their requests. Same errors. */
  async drain(nodeId: string, reason: string): Promise<void> {
    await this.cordon(nodeId, 'operator', reason)
    const { url, instances } = this.#node(nodeId)
    await Promise.all(
      [...instances.keys()].map((id) => this.#deps.nodes.end(url, id, 'drain', this.#deps.term(), true)),
    )
  }

  /** Its failures are forgotten; as many again cordon it again. Same errors. */
  async uncordon(nodeId: string): Promise<void> {
    const node = this.#node(nodeId)
    await this.#deps.nodes.cordon(node.url, undefined)
    this.#health.forget(node)
    node.unfit = undefined
    this.#deps.logger.warn({ nodeId }, 'uncordoned a node')
  }

  #node(nodeId: string): Node {
    if (!this.#deps.leads()) throw new PlatformError('NOT_LEADER', 'this scheduler does not lead')
    const node = this.#deps.fleet.node(nodeId)
    if (!node) throw new PlatformError('NOT_FOUND', `no node ${nodeId} reports`)
    return node
  }

  #isLast({ id, nodePool }: Node): boolean {
    return ![...this.#deps.fleet.nodes()].some(
      (other) => other.id !== id && other.nodePool === nodePool && isOpen(other),
    )
  }

  async #cordonByItself({ id }: Node, reason: string): Promise<void> {
    this.#cordoning.add(id)
    try {
      await this.cordon(id, 'platform', reason)
      this.#deps.metrics.selfCordons.inc({ answer: 'yes' })
    } catch (err) {
      this.#deps.logger.warn({ err, nodeId: id }, 'a node whose starts fail could not be cordoned')
    } finally {
      this.#cordoning.delete(id)
    }
  }
}
