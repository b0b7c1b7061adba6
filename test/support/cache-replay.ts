/**
 * A recorded day of arrivals, played again to the node's own plan (`CachePlan`) with a clock of its own: what is held, what each start
 * then is, and what it costs. Sandboxes are numbers here; decisions, histories and keep-alives are the real code's.
 */
import type { InstancePolicy, VersionConfig } from '../../services/contracts/function.ts'
import { revisionKey } from '../../services/contracts/placement.ts'
import { CachePlan } from '../../services/node-agent/node-scheduler/cache/cache-plan.ts'
import type { CacheDecision, StartWay } from '../../services/node-agent/node-scheduler/cache/input.ts'
import { MadeAhead } from './made-ahead.ts'

export interface Call {
  readonly atMs: number
  readonly name: string
  readonly durationMs: number
}

export interface Trace {
  readonly functions: Readonly<Record<string, InstancePolicy>>
  /** By time. */
  readonly calls: readonly Call[]
  readonly untilMs: number
}

export interface Manner {
  readonly cache?: 'adaptive' | 'strict-cold'
  readonly memoryMiB?: number
  /** For functions that fix none themselves. */
  readonly keepAliveMs?: number
  readonly fixed?: Readonly<Partial<Record<'precreatedSandboxes' | 'parkedRestores' | 'seeds' | 'parkedForks', number>>>
}

export interface Replay {
  readonly calls: number
  /** Share of calls that an idle instance took. */
  readonly warm: number
  readonly startMs: { readonly mean: number; readonly p50: number; readonly p99: number }
  /** Held for calls to come: mean over time, and the most at any time. */
  readonly heldMiB: { readonly mean: number; readonly most: number }
  readonly decisions: readonly CacheDecision[]
}

interface Instance {
  idleSince: number | undefined
}

const tickMs = 1000
/** What initialisation adds to a start that is no fork. */
const initMs = 40
/** One function's share of the day's first moment, so that the clock never is 0. */
const originMs = 1_700_000_000_000

const configOf = (name: string, policy: InstancePolicy): VersionConfig =>
  ({ tenant: 't', name, version: '1', revisionId: 'r', runtime: 'nodejs24.x', memoryMiB: 128, policy }) as VersionConfig

class Node {
  readonly plan: CachePlan
  readonly instances = new Map<string, Instance[]>()
  readonly ahead = new MadeAhead()
  now = originMs

  constructor({ cache = 'adaptive', memoryMiB = 1024, fixed = {} }: Manner) {
    this.plan = new CachePlan({
      config: {
        cache: { mode: cache, memoryMiB, forks: false },
        capacity: { memoryMiB: 16_384, instances: 256 },
        seedIdleMs: 60_000,
        ...fixed,
      },
      runtimes: new Map([['nodejs24.x', { restorable: true }]]),
      now: () => this.now,
    })
  }

  /** As CacheKeeper and the scheduler do it. */
  apply(configs: ReadonlyMap<string, VersionConfig>): CacheDecision {
    const decision = this.plan.decide(
      {
        bookedMiB: 128 * [...this.instances.values()].flat().length,
        pinnedMiB: 0,
        instances: (key) => this.instances.get(key)?.length ?? 0,
        ...this.ahead.holdings,
      },
      'time',
    )
    this.ahead.become(this.plan, 'nodejs24.x')
    for (const [key, all] of this.instances) {
      const policy = configs.get(key)?.policy ?? { concurrency: 1, reuse: true }
      const idle = all
        .filter(({ idleSince }) => idleSince !== undefined)
        .toSorted((a, b) => (b.idleSince ?? 0) - (a.idleSince ?? 0))
      const over = new Set(
        idle.filter(
          ({ idleSince = 0 }, rank) => this.now - idleSince >= (this.plan.keepAliveMs(key, policy, rank) ?? 60_000),
        ),
      )
      this.instances.set(
        key,
        all.filter((instance) => !over.has(instance)),
      )
    }
    return decision
  }

  take(key: string): StartWay | 'warm' {
    const all = this.instances.get(key) ?? []
    const idle = all
      .filter(({ idleSince }) => idleSince !== undefined)
      .toSorted((a, b) => (b.idleSince ?? 0) - (a.idleSince ?? 0))[0]
    if (idle) {
      idle.idleSince = undefined
      return 'warm'
    }
    this.instances.set(key, [...all, { idleSince: undefined }])
    return this.ahead.take(key)
  }

  end(key: string, policy: InstancePolicy): void {
    const all = this.instances.get(key) ?? []
    const busy = all.find(({ idleSince }) => idleSince === undefined)
    if (!busy) return
    const keepAliveMs = policy.reuse ? this.plan.keepAliveMs(key, policy, 0) : 0
    if (keepAliveMs === 0)
      this.instances.set(
        key,
        all.filter((instance) => instance !== busy),
      )
    else busy.idleSince = this.now
  }

  get heldMiB(): number {
    const costs = this.plan.costs.of('nodejs24.x')
    const idle = [...this.instances.values()].flat().filter(({ idleSince }) => idleSince !== undefined).length
    return idle * costs.memoryMiB.idle + this.ahead.heldMiB(costs)
  }
}

export const replay = ({ functions, calls, untilMs }: Trace, manner: Manner = {}): Replay => {
  const node = new Node(manner)
  const policyOf = (name: string): InstancePolicy => {
    const policy = functions[name] ?? { concurrency: 1, reuse: true }
    return manner.keepAliveMs === undefined ? policy : { keepAliveMs: manner.keepAliveMs, ...policy }
  }
  const configs = new Map(
    Object.keys(functions).map((name) => {
      const config = configOf(name, policyOf(name))
      return [revisionKey(config), config] as const
    }),
  )
  const latency = node.plan.costs.of('nodejs24.x').latencyMs
  const startsMs: number[] = []
  const decisions: CacheDecision[] = []
  const ends: { readonly atMs: number; readonly id: string; readonly config: VersionConfig }[] = []
  let [warm, heldSum, most, next] = [0, 0, 0, 0]
  for (let atMs = 0; atMs < untilMs; atMs += tickMs) {
    for (;;) {
      const call = calls[next]
      const ended = ends[0]
      const at = Math.min(call?.atMs ?? Infinity, ended?.atMs ?? Infinity)
      if (at >= atMs + tickMs) break
      node.now = originMs + at
      if (ended && ended.atMs <= at) {
        ends.shift()
        node.plan.habits.gone(ended.id)
        node.plan.habits.startEnded(ended.id)
        node.end(revisionKey(ended.config), ended.config.policy)
        continue
      }
      if (!call) break
      const id = `i${next++}`
      const config = configOf(call.name, policyOf(call.name))
      const { tenant, name, version, revisionId } = config
      const revision = { tenant, name, version, revisionId }
      node.plan.habits.arrived({ invocationId: id, revision, forced: false })
      node.plan.habits.uses(config)
      const way = node.take(revisionKey(config))
      if (way === 'warm') {
        warm++
        startsMs.push(0)
      } else {
        node.plan.startCommanded({
          instanceId: id,
          revision,
          runtime: config.runtime,
          memoryMiB: 128,
          policy: config.policy,
          startWish: 'auto',
        })
        const own = way.startsWith('fork') ? 0 : initMs
        node.plan.started(config, way, latency[way] + own, own)
        startsMs.push(latency[way] + own)
      }
      const end = { atMs: at + (startsMs.at(-1) ?? 0) + call.durationMs, id, config }
      const before = ends.findIndex((other) => other.atMs > end.atMs)
      ends.splice(before < 0 ? ends.length : before, 0, end)
    }
    node.now = originMs + atMs + tickMs
    decisions.push(node.apply(configs))
    heldSum += node.heldMiB
    most = Math.max(most, node.heldMiB)
  }
  const sorted = startsMs.toSorted((a, b) => a - b)
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
  return {
    calls: startsMs.length,
    warm: warm / startsMs.length,
    startMs: { mean: startsMs.reduce((sum, ms) => sum + ms, 0) / startsMs.length, p50: rank(0.5), p99: rank(0.99) },
    heldMiB: { mean: heldSum / decisions.length, most },
    decisions,
  }
}

/** Of a seed: the same numbers on every machine (mulberry32). */
export const drawing = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}

/** Two hours of forty functions as platforms see them: few are called often, most rarely, some by a clock, some in bursts. */
export const mixedTrace = (seed: number, minutes = 120): Trace => {
  const draw = drawing(seed)
  const untilMs = minutes * 60_000
  const functions: Record<string, InstancePolicy> = {}
  const calls: Call[] = []
  const add = (name: string, policy: InstancePolicy, times: Iterable<number>): void => {
    functions[name] = policy
    for (const atMs of times) calls.push({ atMs: Math.floor(atMs), name, durationMs: 10 + Math.floor(draw() * 190) })
  }
  const plain: InstancePolicy = { concurrency: 1, reuse: true }
  for (let k = 0; k < 22; k++) add(`random-${k}`, plain, randomTimes(draw, 10_000 * 1.35 ** k, untilMs))
  for (const [k, everyMs] of [60_000, 60_000, 300_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000].entries())
    add(`clock-${k}`, plain, clockTimes(draw, everyMs, untilMs))
  for (const [k, everyMs] of [120_000, 600_000, 1_200_000, 2_400_000].entries())
    add(`burst-${k}`, plain, burstTimes(draw, everyMs, 12, untilMs))
  for (let k = 0; k < 6; k++)
    add(`once-${k}`, { concurrency: 1, reuse: false, fork: true }, randomTimes(draw, 5_000 * 3 ** k, untilMs))
  return { functions, calls: calls.toSorted((a, b) => a.atMs - b.atMs || (a.name < b.name ? -1 : 1)), untilMs }
}

function* randomTimes(draw: () => number, meanMs: number, untilMs: number): Iterable<number> {
  for (let at = -Math.log(1 - draw()) * meanMs; at < untilMs; at -= Math.log(1 - draw()) * meanMs) yield at
}

function* clockTimes(draw: () => number, everyMs: number, untilMs: number): Iterable<number> {
  for (let at = draw() * everyMs; at < untilMs; at += everyMs) yield at + draw() * 1000
}

function* burstTimes(draw: () => number, everyMs: number, size: number, untilMs: number): Iterable<number> {
  for (const start of randomTimes(draw, everyMs, untilMs)) for (let k = 0; k < size; k++) yield start + draw() * 50
}
