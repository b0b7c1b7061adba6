/** What decides how long things are kept, and what is made ahead: the only part in which the compared policies differ. */
import type { InstancePolicy } from '../../../services/contracts/function.ts'
import type { StartWay } from '../../../services/node-agent/node-scheduler/cache/input.ts'
import type { App } from './azure-trace.ts'
import { HybridHistogram, type Windows } from './hybrid-histogram.ts'
import type { SimulatedNode } from './simulated-node.ts'

/** What a keeper may ask of the simulation. */
export interface World {
  /** Epoch milliseconds. */
  readonly now: number
  readonly nodes: readonly SimulatedNode[]
  after(ms: number, what: () => void): void
  /** The node tells the scheduler anew how long its idle instances are worth keeping, and what its cache holds. */
  report(node: SimulatedNode): void
  /** Those that have instances of the application. */
  nodesOf(app: App): SimulatedNode[]
  /** Starts an instance that no invocation asked for, unless one is free. */
  prewarm(app: App): void
  /** MiB made ahead, in all, from now on. */
  madeAhead(changeMiB: number): void
}

export interface Keeper {
  readonly policy: InstancePolicy
  begin?(world: World): void
  /** An invocation arrives, before it is placed. */
  arrived?(app: App): void
  /** It is in the node's buffer. */
  reached?(node: SimulatedNode, app: App, invocationId: string): void
  ended?(node: SimulatedNode, app: App, invocationId: string): void
  /** What the start will be. */
  starts?(node: SimulatedNode, app: App, instanceId: string): StartWay
  started?(node: SimulatedNode, app: App, instanceId: string, way: StartWay, tookMs: number): void
  /** As the node reports it of an idle instance. @param rank idle instances of the application there that were used later */
  keepAliveMs?(node: SimulatedNode, app: App, rank: number): number | undefined
}

/** AWS Lambda's, as the paper has it: every instance stays for so long after its last invocation. */
export const fixedKeepAlive = (keepAliveMs: number): Keeper => ({
  policy: { concurrency: 1, reuse: true, keepAliveMs },
})

interface Known {
  readonly histogram: HybridHistogram
  inFlight: number
  calls: number
  idleSince: number | undefined
  windows: Windows
  /** Loaded ahead, or to be kept from its last execution on. */
  loaded: boolean
}

export class HybridKeeper implements Keeper {
  readonly policy: InstancePolicy = { concurrency: 1, reuse: true }
  readonly #apps = new Map<App, Known>()
  #world: World | undefined

  begin(world: World): void {
    this.#world = world
  }

  arrived(app: App): void {
    const known = this.#of(app)
    if (known.inFlight++ === 0 && known.idleSince !== undefined)
      known.histogram.idled((this.#world?.now ?? 0) - known.idleSince)
    known.calls++
    known.loaded = true
  }

  ended(_node: SimulatedNode, app: App): void {
    const known = this.#of(app)
    if (--known.inFlight > 0) return
    known.idleSince = this.#world?.now
    known.windows = known.histogram.windows
    const { prewarmMs } = known.windows
    known.loaded = prewarmMs === 0
    const { calls } = known
    if (prewarmMs === 0) return
    for (const node of this.#world?.nodesOf(app) ?? []) this.#world?.report(node)
    this.#world?.after(prewarmMs, () => {
      if (known.calls !== calls) return
      known.loaded = true
      this.#world?.prewarm(app)
    })
  }

  keepAliveMs(_node: SimulatedNode, app: App): number {
    const { loaded, windows } = this.#of(app)
    return loaded ? Math.ceil(windows.keepAliveMs) : 0
  }

  #of(app: App): Known {
    const known = this.#apps.get(app)
    if (known) return known
    const histogram = new HybridHistogram()
    const fresh = { histogram, inFlight: 0, calls: 0, idleSince: undefined, windows: histogram.windows, loaded: true }
    this.#apps.set(app, fresh)
    return fresh
  }
}
