/**
 * Whether the nodes' starts come to something, as their reports tell. Only what the node itself could not do counts (`sandbox-failed`): a function
 * whose initialisation fails, or that takes too much memory, fails on every node.
 */
import type { InstanceChange, NodeReport } from '../contracts/node.ts'
import type { Node } from './pool.ts'

/** In a row, without one that came to something. */
export const mostFailures = 5

interface Health {
  /** Instances that came to something, as reports told so far. */
  ready: Set<string>
  failures: number
}

export class StartHealth {
  /** Of nodes that the fleet knows: it ends with them, and with each run of their agents. */
  readonly #nodes = new WeakMap<Node, Health>()

  /** Takes a report of the node in. @returns failed starts in a row, when this report made it enough of them, or more than that */
  heard(node: Node, { full, instances, changed = [] }: NodeReport): number | undefined {
    const health = this.#nodes.get(node)
    // What is there when a run of the agent is first heard of may have been there for long.
    if (!health) {
      this.#nodes.set(node, { ready: readyIn(instances), failures: 0 })
      return undefined
    }
    const before = health.failures
    for (const change of [...instances, ...changed]) {
      const { instanceId, state, reason } = change
      if (state === 'ended') {
        health.ready.delete(instanceId)
        if (reason === 'sandbox-failed') health.failures++
      } else if (isReady(change) && !health.ready.has(instanceId)) {
        // It may start and be ready between two reports.
        health.ready.add(instanceId)
        health.failures = 0
      }
    }
    if (full) health.ready = readyIn(instances)
    return health.failures >= mostFailures && health.failures > before ? health.failures : undefined
  }

  /** What failed is no matter any more: somebody has seen to the node. */
  forget(node: Node): void {
    const health = this.#nodes.get(node)
    if (health) health.failures = 0
  }
}

const isReady = ({ state }: InstanceChange): boolean => state === 'idle' || state === 'busy'

const readyIn = (instances: readonly InstanceChange[]): Set<string> =>
  new Set(instances.filter(isReady).map(({ instanceId }) => instanceId))
