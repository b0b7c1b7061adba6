/**
 * Whether the nodes' starts come to something, as their reports tell. Only what the node itself could not do counts (`sandbox-failed`): a function
 * whose initialisation fails, or that takes too much memory, fails on every node.
 */
import type { NodeReport } from '../contracts/node.ts'
import type { Node } from './pool.ts'

/** In a row, without one that came to something. */
export const mostFailures = 5

interface Health {
  /** Of the agent's run. */
  epoch: string
  readonly starting: Set<string>
  failures: number
}

export class StartHealth {
  /** Of nodes that the fleet knows: it ends with them. */
  readonly #nodes = new WeakMap<Node, Health>()

  /** Takes a report of the node in. @returns failed starts in a row, when this report made it enough of them, or more than that */
  heard(node: Node, { epoch, instances, changed = [] }: NodeReport): number | undefined {
    const health = this.#of(node, epoch)
    const before = health.failures
    for (const { instanceId, state, reason } of [...instances, ...changed]) {
      if (state === 'starting') health.starting.add(instanceId)
      else if (state === 'ended') {
        health.starting.delete(instanceId)
        if (reason === 'sandbox-failed') health.failures++
      } else if (health.starting.delete(instanceId)) health.failures = 0
    }
    return health.failures >= mostFailures && health.failures > before ? health.failures : undefined
  }

  /** What was is no matter any more: somebody has seen to the node. */
  forget(node: Node): void {
    this.#nodes.delete(node)
  }

  #of(node: Node, epoch: string): Health {
    const known = this.#nodes.get(node)
    if (known?.epoch === epoch) return known
    const fresh = { epoch, starting: new Set<string>(), failures: 0 }
    this.#nodes.set(node, fresh)
    return fresh
  }
}
