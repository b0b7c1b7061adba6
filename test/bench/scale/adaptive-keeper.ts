/** This platform's own policy: each node's plan (`CachePlan`) learns from what reaches that node, and decides for it alone. */
import type { InstancePolicy, VersionConfig } from '../../../services/contracts/function.ts'
import { revisionKey, type RevisionRef } from '../../../services/contracts/placement.ts'
import { CachePlan } from '../../../services/node-agent/node-scheduler/cache/cache-plan.ts'
import type { StartWay } from '../../../services/node-agent/node-scheduler/cache/input.ts'
import { MadeAhead } from '../../support/made-ahead.ts'
import type { App } from './azure-trace.ts'
import type { Keeper, World } from './keeper.ts'
import type { SimulatedNode } from './simulated-node.ts'

interface Planned {
  readonly plan: CachePlan
  readonly ahead: MadeAhead
  activeAt: number
  ticking: boolean
}

export const runtime = 'nodejs24.x'
/** Assumed: what a function's own initialisation adds to a start that is no fork. */
export const initMs = 40
/** An agent decides each second. Here after each second in which something ended, after starts, and else as often as this. */
const decideEveryMs = 15_000
const freshMs = 1_000
/** A node that holds nothing and was not called for so long decides nothing new. */
const quietAfterMs = 600_000

export const revisionOf = ({ name }: App): RevisionRef => ({ tenant: 't', name, version: '1', revisionId: 'r' })

export class AdaptiveKeeper implements Keeper {
  readonly policy: InstancePolicy = { concurrency: 1, reuse: true }
  readonly #forks: boolean
  readonly #nodes = new Map<SimulatedNode, Planned>()
  readonly #apps = new Map<string, App>()
  #world: World | undefined

  constructor({ forks }: { readonly forks: boolean }) {
    this.#forks = forks
  }

  begin(world: World): void {
    this.#world = world
    for (const node of world.nodes) {
      const plan = new CachePlan({
        config: { cache: { mode: 'adaptive', forks: this.#forks }, capacity: node.capacity, seedIdleMs: 60_000 },
        runtimes: new Map([[runtime, { restorable: true }]]),
        now: () => world.now,
      })
      this.#nodes.set(node, { plan, ahead: new MadeAhead(), activeAt: world.now, ticking: false })
      this.#decide(node)
    }
  }

  reached(node: SimulatedNode, app: App, invocationId: string): void {
    const { plan } = this.#of(node)
    this.#apps.set(revisionKey(revisionOf(app)), app)
    plan.habits.arrived({ invocationId, revision: revisionOf(app), forced: false })
    plan.habits.uses(this.#configOf(app))
  }

  ended(node: SimulatedNode, _app: App, invocationId: string): void {
    const { plan } = this.#of(node)
    plan.habits.gone(invocationId)
    if (plan.ageMs >= freshMs) this.#decide(node)
  }

  starts(node: SimulatedNode, app: App, instanceId: string): StartWay {
    const { plan, ahead } = this.#of(node)
    const { policy } = this
    const revision = revisionOf(app)
    plan.startCommanded({ instanceId, revision, runtime, memoryMiB: app.sizeMiB, policy, startWish: 'auto' })
    const way = ahead.take(revisionKey(revision))
    this.#held(node)
    return way
  }

  started(node: SimulatedNode, app: App, instanceId: string, way: StartWay, tookMs: number): void {
    const { plan } = this.#of(node)
    plan.habits.startEnded(instanceId)
    plan.started(this.#configOf(app), way, tookMs, way.startsWith('fork') ? 0 : initMs)
    plan.costs.idles(revisionKey(revisionOf(app)), app.usedMiB)
    this.#decide(node)
  }

  keepAliveMs(node: SimulatedNode, app: App, rank: number): number | undefined {
    return this.#of(node).plan.keepAliveMs(revisionKey(revisionOf(app)), this.policy, rank)
  }

  #of(node: SimulatedNode): Planned {
    const known = this.#nodes.get(node)
    if (!known) throw new Error(`no plan for ${node.id}`)
    return known
  }

  #configOf(app: App): VersionConfig {
    return { ...revisionOf(app), runtime, memoryMiB: app.sizeMiB, policy: this.policy } as VersionConfig
  }

  #decide(node: SimulatedNode): void {
    const planned = this.#of(node)
    const { plan, ahead } = planned
    const instances = (key: string): number => {
      const app = this.#apps.get(key)
      return app ? node.count(app) : 0
    }
    plan.decide({ bookedMiB: node.bookedMiB, pinnedMiB: 0, instances, ...ahead.holdings }, 'time')
    ahead.become(plan, runtime)
    this.#held(node)
    this.#world?.report(node)
    if (node.instances.size > 0) planned.activeAt = this.#world?.now ?? 0
    this.#tickLater(node, planned)
  }

  #held(node: SimulatedNode): void {
    const { plan, ahead } = this.#of(node)
    const heldMiB = ahead.heldMiB(plan.costs.of(runtime))
    this.#world?.madeAhead(heldMiB - node.heldMiB)
    node.heldMiB = heldMiB
  }

  #tickLater(node: SimulatedNode, planned: Planned): void {
    const world = this.#world
    if (!world || planned.ticking) return
    if (node.heldMiB === 0 && world.now - planned.activeAt > quietAfterMs) return
    planned.ticking = true
    world.after(decideEveryMs, () => {
      planned.ticking = false
      this.#decide(node)
    })
  }
}
