/** One node as its agent knows it: instances, the buffer of each application, and what it told the scheduler. */
import type { InstanceChange, NodeReport } from '../../../services/contracts/node.ts'
import type { App } from './azure-trace.ts'

export interface Invocation {
  readonly id: string
  readonly app: App
  readonly atMs: number
  readonly durationMs: number
}

export interface SimulatedInstance {
  readonly id: string
  readonly app: App
  state: 'starting' | 'idle' | 'busy'
  idleSince: number
  /** As it was last told. */
  keepAliveMs: number | undefined
}

export const nodeCapacity = { memoryMiB: 16_384, instances: 256, cpus: 8 }

export class SimulatedNode {
  readonly id: string
  readonly capacity: typeof nodeCapacity
  readonly instances = new Map<string, SimulatedInstance>()
  /** Started anything at all. */
  used = false
  bookedMiB = 0
  /** Made ahead. */
  heldMiB = 0
  #seq = 1
  readonly #waiting = new Map<App, Invocation[]>()

  constructor(id: string, capacity: typeof nodeCapacity) {
    this.id = id
    this.capacity = capacity
  }

  get firstReport(): NodeReport {
    return { ...this.report([], []), full: true, url: `http://${this.id}.test`, capacity: this.capacity }
  }

  report(changed: InstanceChange[], endedInvocations: string[]): NodeReport {
    const cache = { heldMiB: Math.ceil(this.heldMiB), pinnedMiB: 0 }
    const head = { nodeId: this.id, epoch: 'e', seq: this.#seq++, full: false, accepting: true, cache }
    return { ...head, instances: [], changed, endedInvocations }
  }

  add(id: string, app: App): SimulatedInstance {
    const instance: SimulatedInstance = { id, app, state: 'starting', idleSince: 0, keepAliveMs: undefined }
    this.instances.set(id, instance)
    this.used = true
    this.bookedMiB += app.sizeMiB
    return instance
  }

  remove(instance: SimulatedInstance): void {
    if (this.instances.delete(instance.id)) this.bookedMiB -= instance.app.sizeMiB
  }

  wait(invocation: Invocation): void {
    const waiting = this.#waiting.get(invocation.app)
    if (waiting) waiting.push(invocation)
    else this.#waiting.set(invocation.app, [invocation])
  }

  nextWaiting(app: App): Invocation | undefined {
    const waiting = this.#waiting.get(app)
    const next = waiting?.shift()
    if (waiting?.length === 0) this.#waiting.delete(app)
    return next
  }

  /** The most recently used first. */
  idle(app: App): SimulatedInstance[] {
    return [...this.instances.values()]
      .filter((instance) => instance.state === 'idle' && instance.app === app)
      .toSorted((a, b) => b.idleSince - a.idleSince || (a.id < b.id ? -1 : 1))
  }

  count(app: App): number {
    let count = 0
    for (const instance of this.instances.values()) if (instance.app === app) count++
    return count
  }
}
