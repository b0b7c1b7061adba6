/** What is counted while a simulation runs. */
import type { StartWay } from '../../../services/node-agent/node-scheduler/cache/input.ts'
import type { App } from './azure-trace.ts'
import type { SimulatedNode } from './simulated-node.ts'

export class Tally {
  arrivals = 0
  warm = 0
  cold = 0
  refusals = 0
  prewarmed = 0
  inFlight = 0
  /** Now, MiB: idle instances, and what is made ahead. */
  idleMiB = 0
  aheadMiB = 0
  /** Over time. */
  idleMiBms = 0
  aheadMiBms = 0
  elapsedMs = 0
  /** Of all starts, also those that no invocation asked for. */
  readonly ways = new Map<StartWay, number>()
  /** Of every invocation, from its arrival until it runs. */
  readonly startsMs: number[] = []
  readonly apps = new Map<App, { calls: number; cold: number }>()
  /** The most that any node was booked with, to its capacity: of memory, or of instances. */
  fullest = 0
  /** With instances: now, and the most at any time. */
  nodesBusy = 0
  mostNodesBusy = 0

  passed(ms: number): void {
    this.elapsedMs += ms
    this.idleMiBms += this.idleMiB * ms
    this.aheadMiBms += this.aheadMiB * ms
  }

  arrived(): void {
    this.arrivals++
    this.inFlight++
  }

  refused(app: App): void {
    this.refusals++
    this.inFlight--
    this.#of(app).calls++
  }

  /** @param waitedMs cold when it waited at all: an idle instance takes it at once */
  served(app: App, waitedMs: number): void {
    const own = this.#of(app)
    own.calls++
    this.startsMs.push(waitedMs)
    if (waitedMs === 0) this.warm++
    else {
      this.cold++
      own.cold++
    }
  }

  ended(): void {
    this.inFlight--
  }

  started(way: StartWay): void {
    this.ways.set(way, (this.ways.get(way) ?? 0) + 1)
  }

  booked({ instances, bookedMiB, capacity }: SimulatedNode): void {
    this.fullest = Math.max(this.fullest, bookedMiB / capacity.memoryMiB, instances.size / capacity.instances)
    if (instances.size === 1) this.mostNodesBusy = Math.max(this.mostNodesBusy, ++this.nodesBusy)
  }

  released({ instances }: SimulatedNode): void {
    if (instances.size === 0) this.nodesBusy--
  }

  #of(app: App): { calls: number; cold: number } {
    const known = this.apps.get(app) ?? { calls: 0, cold: 0 }
    this.apps.set(app, known)
    return known
  }
}
