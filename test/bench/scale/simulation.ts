/**
 * Discrete events on the scheduler's real parts: `Fleet` with its indexes, `place`, and the ends of idle instances are as in the scheduler;
 * nodes tell it of changes with the agent's reports. Instances, and the time that passes, are numbers.
 */
import type { PlacementRequest } from '../../../services/contracts/placement.ts'
import type { InstanceChange } from '../../../services/contracts/node.ts'
import type { StartWay } from '../../../services/node-agent/node-scheduler/cache/input.ts'
import { MeasuredCosts } from '../../../services/node-agent/node-scheduler/cache/measured-costs.ts'
import { Fleet } from '../../../services/scheduler/fleet.ts'
import { instancesToEnd } from '../../../services/scheduler/lifecycle.ts'
import { noPlaces, OrderedHeap, type Placed } from '../../../services/scheduler/ordered-heap.ts'
import { place, type Decision } from '../../../services/scheduler/place.ts'
import type { Instance } from '../../../services/scheduler/pool.ts'
import { initMs, revisionOf, runtime } from './adaptive-keeper.ts'
import { Arrivals, type App } from './azure-trace.ts'
import type { Keeper, World } from './keeper.ts'
import { SimulatedNode, type Invocation, type SimulatedInstance, type nodeCapacity } from './simulated-node.ts'
import { Tally } from './tally.ts'

export interface SimulationInput {
  readonly apps: readonly App[]
  readonly seed: number
  readonly nodes: number
  readonly capacity: typeof nodeCapacity
  readonly untilMs: number
  readonly keeper: Keeper
}

interface Event extends Placed {
  readonly at: number
  readonly order: number
  readonly happens: () => void
}

/** So that no time is 0, which means "never" to some. */
const originMs = 1_700_000_000_000
/** The scheduler looks for what is over several times a second. */
const endCheckMs = 1_000
const lookAgainMs = 1_000
const deadlineMs = 3_600_000

export class Simulation implements World {
  readonly tally = new Tally()
  readonly nodes: readonly SimulatedNode[]
  readonly #input: SimulationInput
  readonly #fleet = new Fleet()
  readonly #byId: ReadonlyMap<string, SimulatedNode>
  readonly #events = new OrderedHeap<Event>((a, b) => a.at - b.at || a.order - b.order)
  readonly #latencyMs = new MeasuredCosts().of(runtime).latencyMs
  #order = 0
  #ids = 0
  now = originMs

  constructor(input: SimulationInput) {
    this.#input = input
    this.nodes = Array.from(
      { length: input.nodes },
      (_, at) => new SimulatedNode(`node-${String(at).padStart(6, '0')}`, input.capacity),
    )
    this.#byId = new Map(this.nodes.map((node) => [node.id, node]))
    for (const node of this.nodes) this.#fleet.apply(node.firstReport, this.now)
  }

  /** Arrivals until then; what runs by then ends, and is counted. */
  run(): Tally {
    const { apps, seed, keeper, untilMs } = this.#input
    const until = originMs + untilMs
    keeper.begin?.(this)
    for (const [at, app] of apps.entries()) this.#nextArrival(app, new Arrivals(app, seed + 7919 * (at + 1)), until)
    this.after(endCheckMs, () => this.#endIdle(until))
    for (let event = this.#events.first(); event; event = this.#events.first()) {
      if (event.at > until && this.tally.inFlight === 0) break
      this.#events.delete(event)
      if (event.at <= until) this.tally.passed(event.at - this.now)
      this.now = event.at
      event.happens()
    }
    return this.tally
  }

  after(ms: number, happens: () => void): void {
    const at = this.now + Math.max(0, Math.ceil(ms))
    this.#events.put({ at, order: this.#order++, happens, places: noPlaces(1) })
  }

  nodesOf(app: App): SimulatedNode[] {
    return [...this.#fleet.poolsOf(revisionOf(app))].map((pool) => this.#nodeOf(pool.node.id))
  }

  report(node: SimulatedNode): void {
    const changed: InstanceChange[] = []
    for (const instance of node.instances.values()) {
      if (instance.state !== 'idle') continue
      const before = instance.keepAliveMs
      const change = this.#changeOf(node, instance)
      if (instance.keepAliveMs !== before) changed.push(change)
    }
    this.#fleet.apply(node.report(changed, []), this.now)
  }

  prewarm(app: App): void {
    const request = this.#requestFor(app)
    const decision = place(this.#fleet.view, request, this.now)
    if (decision.kind !== 'start') return
    this.tally.prewarmed++
    this.#start(decision, request, app)
  }

  madeAhead(changeMiB: number): void {
    this.tally.aheadMiB += changeMiB
  }

  #nextArrival(app: App, arrivals: Arrivals, until: number): void {
    const { atMs, durationMs } = arrivals.next()
    const at = originMs + atMs
    if (at >= until) return
    this.after(at - this.now, () => {
      this.#arrive({ id: `call-${this.#ids++}`, app, atMs: this.now, durationMs })
      this.#nextArrival(app, arrivals, until)
    })
  }

  #arrive(invocation: Invocation): void {
    const { app, id } = invocation
    const { keeper } = this.#input
    this.tally.arrived()
    const request = this.#requestFor(app, id)
    const decision = place(this.#fleet.view, request, this.now)
    if (decision.kind !== 'start' && !('pool' in decision)) return this.tally.refused(app)
    keeper.arrived?.(app)
    const node = this.#nodeOf(decision.kind === 'start' ? decision.node.id : decision.pool.node.id)
    if (decision.kind !== 'start') this.#fleet.lend(decision.pool, request, this.now)
    keeper.reached?.(node, app, id)
    if (decision.kind === 'start') this.#start(decision, request, app)
    const idle = node.idle(app)[0]
    if (idle) this.#run(node, idle, invocation, [])
    else node.wait(invocation)
  }

  /** Books, lends when an invocation waits for it, and begins. */
  #start(decision: Extract<Decision, { kind: 'start' }>, request: PlacementRequest, app: App): void {
    const { invocationId, revision, memoryMiB, policy } = request
    const node = this.#nodeOf(decision.node.id)
    for (const instance of decision.end) this.#end(instance)
    const instanceId = `instance-${this.#ids++}`
    const pool = this.#fleet.book(decision.node, { instanceId, revision, runtime, memoryMiB, policy })
    if (invocationId !== '') this.#fleet.lend(pool, request, this.now)
    const instance = node.add(instanceId, app)
    this.tally.booked(node)
    const way = this.#input.keeper.starts?.(node, app, instanceId) ?? 'restore'
    this.tally.started(way)
    const tookMs = this.#latencyMs[way] + (way.startsWith('fork') ? 0 : initMs)
    this.after(tookMs, () => this.#ready(node, instance, way, tookMs))
  }

  #ready(node: SimulatedNode, instance: SimulatedInstance, way: StartWay, tookMs: number): void {
    this.#input.keeper.started?.(node, instance.app, instance.id, way, tookMs)
    this.#free(node, instance, [])
  }

  #free(node: SimulatedNode, instance: SimulatedInstance, ended: string[]): void {
    const next = node.nextWaiting(instance.app)
    if (next) return this.#run(node, instance, next, ended)
    instance.state = 'idle'
    instance.idleSince = this.now
    this.tally.idleMiB += instance.app.usedMiB
    this.#fleet.apply(node.report([this.#changeOf(node, instance)], ended), this.now)
  }

  #run(node: SimulatedNode, instance: SimulatedInstance, { id, app, atMs, durationMs }: Invocation, ended: string[]) {
    if (instance.state === 'idle') this.tally.idleMiB -= app.usedMiB
    instance.state = 'busy'
    this.tally.served(app, this.now - atMs)
    this.#fleet.apply(node.report([this.#changeOf(node, instance)], ended), this.now)
    this.after(durationMs, () => {
      this.tally.ended()
      this.#input.keeper.ended?.(node, app, id)
      this.#free(node, instance, [id])
    })
  }

  #endIdle(until: number): void {
    for (const pool of this.#fleet.dueForEnd(this.now, lookAgainMs))
      for (const { instance } of instancesToEnd(pool, this.now)) this.#end(instance)
    if (this.now < until) this.after(endCheckMs, () => this.#endIdle(until))
  }

  #end(instance: Instance): void {
    const node = this.#nodeOf(instance.pool.node.id)
    const known = node.instances.get(instance.id)
    this.#fleet.drop(instance)
    if (!known) throw new Error(`${instance.id} ended twice`)
    if (known.state !== 'idle') throw new Error(`${instance.id} ended while ${known.state}`)
    this.tally.idleMiB -= known.app.usedMiB
    node.remove(known)
    this.tally.released(node)
  }

  #changeOf(node: SimulatedNode, instance: SimulatedInstance): InstanceChange {
    const { id: instanceId, app, state, idleSince } = instance
    if (state !== 'idle') return { instanceId, state, inFlight: state === 'busy' ? 1 : 0 }
    instance.keepAliveMs = this.#input.keeper.keepAliveMs?.(node, app, node.idle(app).indexOf(instance))
    const { keepAliveMs } = instance
    return { instanceId, state, inFlight: 0, idleSince, ...(keepAliveMs === undefined ? {} : { keepAliveMs }) }
  }

  #requestFor(app: App, invocationId = ''): PlacementRequest {
    const { policy } = this.#input.keeper
    const revision = revisionOf(app)
    const deadlineAt = this.now + deadlineMs
    const what = { invocationId, revision, runtime, memoryMiB: app.sizeMiB, policy } as const
    return { ...what, startWish: 'auto', deadlineAt, excludeNodes: [] }
  }

  #nodeOf(id: string): SimulatedNode {
    const node = this.#byId.get(id)
    if (!node) throw new Error(`unknown node ${id}`)
    return node
  }
}
