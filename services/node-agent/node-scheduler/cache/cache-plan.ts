/**
 * What this node knows of its functions' habits, and what it last decided to hold for them. Records in constant time; a decision is made on
 * a timer and after starts, never while a request waits for it.
 */
import { revisionKey } from '../../../contracts/placement.ts'
import type { InstancePolicy, RuntimeName, VersionConfig } from '../../../contracts/function.ts'
import type { StartInstance } from '../../../contracts/node.ts'
import type { NodeAgentConfig } from '../../config.ts'
import type { PreparedKind } from '../prepared-sandboxes.ts'
import { decide } from './decide.ts'
import type { SavedHabits } from './habits-file.ts'
import { Habits } from './habits.ts'
import type { CacheDecision, CacheInput, FixedSizes, RevisionDecision, StartWay } from './input.ts'
import { MeasuredCosts } from './measured-costs.ts'

export interface CachePlanDeps {
  readonly config: Pick<
    NodeAgentConfig,
    'cache' | 'capacity' | 'precreatedSandboxes' | 'parkedRestores' | 'seeds' | 'parkedForks' | 'seedIdleMs'
  >
  /** Runtimes of this node, and whether a checkpoint of each is here. */
  readonly runtimes: ReadonlyMap<RuntimeName, { readonly restorable: boolean }>
  /** What an earlier run of the agent learned. */
  readonly saved?: SavedHabits | undefined
  /** Epoch milliseconds. */
  readonly now?: () => number
}

/** What there is at the moment of a decision. */
export interface Holdings {
  /** Sum of the memory sizes of all instances. */
  readonly bookedMiB: number
  /** Of seeds that go as soon as their last fork has served. */
  readonly pinnedMiB: number
  readonly instances: (key: string) => number
  readonly prepared: (kind: PreparedKind, runtime: RuntimeName) => number
  readonly forks: (config: VersionConfig) => {
    readonly parked: number
    readonly hasSeed: boolean
    readonly refused?: string
  }
}

const dormantAfterMs = 600_000
const maxParkedForks = 8
const forksOff = 'neither the function nor the stack allows forks, which share a sandbox'

/** What asked for a decision: the clock, a start that ended, or a start that needs the memory. */
export type DecisionCause = 'time' | 'start' | 'memory'

export class CachePlan {
  readonly costs = new MeasuredCosts()
  readonly habits: Habits
  /** Why things end that the last decision holds no more. */
  cause: 'idle' | 'memory' = 'idle'
  readonly #deps: CachePlanDeps
  readonly #now: () => number
  #input: CacheInput | undefined
  #decision: CacheDecision | undefined
  #byKey: ReadonlyMap<string, RevisionDecision & { readonly considered: number }> = new Map()
  #decidedAt = Number.NEGATIVE_INFINITY

  constructor(deps: CachePlanDeps) {
    this.#deps = deps
    this.#now = deps.now ?? Date.now
    this.habits = new Habits(deps.runtimes.keys(), this.#now, deps.saved)
  }

  get restorable(): RuntimeName[] {
    return [...this.#deps.runtimes].flatMap(([name, { restorable }]) => (restorable ? [name] : []))
  }

  get mode(): NodeAgentConfig['cache']['mode'] {
    return this.#deps.config.cache.mode
  }

  get budgetMiB(): number {
    const { cache, capacity } = this.#deps.config
    return cache.memoryMiB ?? Math.floor(capacity.memoryMiB / 4)
  }

  get last(): { readonly input: CacheInput; readonly decision: CacheDecision } | undefined {
    return this.#input && this.#decision && { input: this.#input, decision: this.#decision }
  }

  get ageMs(): number {
    return this.#now() - this.#decidedAt
  }

  isStrictCold({ cache }: InstancePolicy): boolean {
    return this.mode === 'strict-cold' || cache === 'strict-cold'
  }

  /** Why the revision is not to be forked unasked. */
  forkRefused({ fork }: InstancePolicy): string | undefined {
    const { cache, seeds = 0 } = this.#deps.config
    return (fork ?? (cache.forks || seeds > 0)) ? undefined : forksOff
  }

  /** Only starts that would use what a runtime holds count as its. */
  startCommanded(command: StartInstance): void {
    const { revision, policy, startWish } = command
    if (startWish !== 'auto' || this.isStrictCold(policy)) return
    if ((this.#byKey.get(revisionKey(revision))?.seed.count ?? 0) === 0) this.habits.startCommanded(command)
  }

  started(config: VersionConfig, way: StartWay, tookMs: number, initMs: number): void {
    this.costs.started(revisionKey(config), config.runtime, way, tookMs, initMs)
  }

  /** Decides anew from what there is. */
  decide(holdings: Holdings, cause: DecisionCause): CacheDecision {
    this.habits.forget()
    const input = this.#inputFrom(holdings)
    const decision = decide(input)
    this.cause = cause === 'memory' ? 'memory' : 'idle'
    this.#input = input
    this.#decision = decision
    this.#decidedAt = input.now
    this.#byKey = new Map(
      decision.revisions.map((one, at) => [one.key, { ...one, considered: input.revisions[at]?.instances ?? 0 }]),
    )
    return decision
  }

  revision(key: string): RevisionDecision | undefined {
    return this.#byKey.get(key)
  }

  size(kind: PreparedKind, runtime: RuntimeName): number {
    return this.#decision?.runtimes.find((one) => one.runtime === runtime)?.[kind].count ?? 0
  }

  /** Revisions that are to have a seed. */
  get seeded(): VersionConfig[] {
    return [...this.habits.all()].flatMap(({ config }) =>
      config && (this.#byKey.get(revisionKey(config))?.seed.count ?? 0) > 0 ? [config] : [],
    )
  }

  /** What the seed of a revision is to have; one that only a caller asked for gets what the operator set. */
  forksOf(config: VersionConfig): { readonly seed: boolean; readonly parked: number } {
    const decided = this.#byKey.get(revisionKey(config))
    if (!decided || decided.seed.count === 0) return { seed: false, parked: this.#fixed.parkedForks ?? 0 }
    return { seed: true, parked: decided.parkedFork.count }
  }

  /**
   * For how long an idle instance is kept, milliseconds; undefined when nothing was decided yet.
   * @param rank how many idle instances of the revision were used later than this one
   */
  keepAliveMs(key: string, policy: InstancePolicy, rank: number): number | undefined {
    if (this.isStrictCold(policy)) return 0
    if (policy.keepAliveMs !== undefined) return policy.keepAliveMs
    const decided = this.#byKey.get(key)
    if (!decided) return undefined
    const { count, keepAliveMs } = decided.idle
    // Those that came after the decision are the next one's.
    return rank < count || rank >= decided.considered ? keepAliveMs : 0
  }

  get #fixed(): FixedSizes {
    const { precreatedSandboxes: created, parkedRestores: parked, seeds, parkedForks, seedIdleMs } = this.#deps.config
    const given = Object.entries({ created, parked, seeds, parkedForks }).filter(([, value]) => value !== undefined)
    return { ...Object.fromEntries(given), seedIdleMs }
  }

  #inputFrom(holdings: Holdings): CacheInput {
    const { capacity } = this.#deps.config
    return {
      now: this.#now(),
      mode: this.mode,
      budgetMiB: this.budgetMiB,
      roomMiB: Math.max(0, capacity.memoryMiB - holdings.bookedMiB - holdings.pinnedMiB),
      fixed: this.#fixed,
      maxParkedForks,
      runtimes: [...this.habits.starts].map(([runtime, log]) => ({
        runtime,
        restorable: this.#deps.runtimes.get(runtime)?.restorable ?? false,
        costs: this.costs.of(runtime),
        history: log.history(),
        held: { created: holdings.prepared('created', runtime), parked: holdings.prepared('parked', runtime) },
      })),
      revisions: [...this.habits.all()].flatMap(({ log, config }) => {
        if (!config) return []
        const key = revisionKey(config)
        const { parked, hasSeed, refused } = holdings.forks(config)
        const forkRefused = this.forkRefused(config.policy) ?? (hasSeed ? undefined : refused)
        const instances = holdings.instances(key)
        // Nothing of it is here, and nothing could be held for it.
        const dormant = instances === 0 && !hasSeed && forkRefused !== undefined
        if (dormant && !log.busy && this.#now() - log.idleSince > dormantAfterMs) return []
        return {
          key,
          runtime: config.runtime,
          policy: config.policy,
          history: log.history(),
          initMs: this.costs.initMs(key),
          idleMiB: this.costs.idleMiB(key, config.runtime),
          instances,
          held: { seed: hasSeed, parkedForks: parked },
          ...(forkRefused === undefined ? {} : { forkRefused }),
        }
      }),
    }
  }
}
