/** Applies decisions: measures what is held, decides, ends what is held no more, has the rest made, and gives memory back to starts. */
import { revisionKey } from '../../../contracts/placement.ts'
import type { NodeReport } from '../../../contracts/node.ts'
import type { SchedulerMetrics } from '../../metrics.ts'
import type { NodeScheduler } from '../node-scheduler.ts'
import type { SandboxStarter } from '../sandbox-starter.ts'
import type { CachePlan, DecisionCause, Holdings } from './cache-plan.ts'
import { cacheLevels, type CacheLevel } from './input.ts'

export interface CacheKeeperDeps {
  readonly plan: CachePlan
  readonly starter: Pick<SandboxStarter, 'prepared' | 'seeds' | 'facts' | 'fill'>
  readonly scheduler: Pick<NodeScheduler, 'bookedMiB' | 'instancesOf' | 'idle'>
  readonly capacityMiB: number
  readonly metrics: Pick<SchedulerMetrics, 'heldMiB' | 'heldCount' | 'decisions' | 'decisionMs'>
}

/** Starts follow each other fast; what the last decision knew is as good. */
const freshMs = 200
/** A node of very many functions decides less often: at most one part in so many of its time. */
const timeShare = 20

export class CacheKeeper {
  readonly #deps: CacheKeeperDeps
  #decisionMs = 0

  constructor(deps: CacheKeeperDeps) {
    this.#deps = deps
  }

  /** Each second: measures, decides, and ends what is not worth its memory. */
  async tick(): Promise<void> {
    this.#measure()
    if (this.#isDue) this.#decide('time')
    await Promise.all([this.#deps.starter.prepared.trim(), this.#deps.starter.seeds.sweep()])
  }

  /** For whoever asks what is held and why: a revision that was just started is in no decision yet. */
  refresh(): void {
    if (this.#deps.plan.ageMs > timeShare * this.#decisionMs) this.#decide('time')
  }

  /** Makes what is worth it. Call when no start runs. */
  fill(): void {
    if (this.#isDue) this.#decide('start')
    this.#deps.starter.fill()
  }

  /** Before a start: the instances' memory and what is held must fit. Nothing is waited for when they do. */
  async makeRoom(): Promise<void> {
    if (this.#deps.scheduler.bookedMiB + this.held.heldMiB <= this.#deps.capacityMiB) return
    this.#decide('memory')
    await Promise.all([this.#deps.starter.prepared.trim(), this.#deps.starter.seeds.shed()])
  }

  /** Beside the instances, by what each level was measured to hold. */
  get held(): NonNullable<NodeReport['cache']> {
    let [heldMiB, pinnedMiB] = [0, 0]
    for (const { level, count, eachMiB, pinned } of this.#holdings()) {
      if (level === 'idle') continue
      heldMiB += count * eachMiB
      if (pinned) pinnedMiB += count * eachMiB
    }
    return { heldMiB: Math.ceil(heldMiB), pinnedMiB: Math.ceil(pinnedMiB) }
  }

  get #isDue(): boolean {
    return this.#deps.plan.ageMs > Math.max(freshMs, timeShare * this.#decisionMs)
  }

  #decide(cause: DecisionCause): void {
    const { plan, metrics } = this.#deps
    const from = performance.now()
    plan.decide(this.#facts(), cause)
    this.#decisionMs = performance.now() - from
    metrics.decisionMs.observe(this.#decisionMs)
    metrics.decisions.inc({ cause })
  }

  #facts(): Holdings {
    const { scheduler, starter } = this.#deps
    return {
      bookedMiB: scheduler.bookedMiB,
      pinnedMiB: this.held.pinnedMiB,
      instances: (key) => scheduler.instancesOf(key),
      prepared: (kind, runtime) => starter.prepared.count(kind, runtime),
      forks: (config) => starter.facts('auto', config).fork,
    }
  }

  *#holdings(): Iterable<{ level: CacheLevel; count: number; eachMiB: number; pinned: boolean }> {
    const { plan, starter, scheduler } = this.#deps
    for (const runtime of plan.restorable)
      for (const level of ['created', 'parked'] as const)
        yield {
          level,
          count: starter.prepared.count(level, runtime),
          eachMiB: plan.costs.of(runtime).memoryMiB[level],
          pinned: false,
        }
    for (const { config, children, serving } of starter.seeds.alive()) {
      const { memoryMiB } = plan.costs.of(config.runtime)
      yield { level: 'seed', count: 1, eachMiB: memoryMiB.seed, pinned: serving > 0 }
      yield { level: 'parkedFork', count: children - serving, eachMiB: memoryMiB.parkedFork, pinned: false }
    }
    for (const { command } of scheduler.idle()) {
      const eachMiB = plan.costs.idleMiB(revisionKey(command.revision), command.runtime)
      yield { level: 'idle', count: 1, eachMiB, pinned: false }
    }
  }

  #measure(): void {
    const { plan, starter, scheduler, metrics } = this.#deps
    const { costs } = plan
    for (const { kind, runtime, instance } of starter.prepared.made())
      costs.holds(runtime, kind, instance.sandbox.memoryMiB())
    for (const seed of starter.seeds.alive()) {
      const { memoryMiB, freshMiB } = seed.state
      costs.holds(seed.config.runtime, 'seed', freshMiB)
      if (seed.serving === 0 && seed.children > 0)
        costs.holds(seed.config.runtime, 'parkedFork', (memoryMiB - freshMiB) / seed.children)
    }
    for (const { command, memoryMiB } of scheduler.idle()) {
      if (memoryMiB === undefined) continue
      costs.idles(revisionKey(command.revision), memoryMiB)
      costs.holds(command.runtime, 'idle', memoryMiB)
    }
    const counts = new Map(cacheLevels.map((level) => [level, { count: 0, memoryMiB: 0 }]))
    for (const { level, count, eachMiB } of this.#holdings()) {
      const sum = counts.get(level)
      if (!sum) continue
      sum.count += count
      sum.memoryMiB += count * eachMiB
    }
    for (const [level, { count, memoryMiB }] of counts) {
      metrics.heldCount.set({ level }, count)
      metrics.heldMiB.set({ level }, memoryMiB)
    }
  }
}
