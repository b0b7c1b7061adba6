/** What each level costs and saves on this node: as measured here, and until then as the benchmarks found it (docs/benchmarks.md). */
import type { RuntimeName } from '../../../contracts/function.ts'
import type { CacheLevel, LevelCosts, StartWay } from './input.ts'

const untilMeasured: LevelCosts = {
  memoryMiB: { idle: 50, parkedFork: 20, seed: 60, parked: 45, created: 15 },
  latencyMs: {
    boot: 380,
    restore: 190,
    'restore-precreated': 95,
    'restore-parked': 20,
    fork: 45,
    'fork-parked': 6,
  },
  cpuMs: { parkedFork: 40, seed: 600, parked: 150, created: 60 },
}

/** Share of a new measurement: some ten of them replace what was believed. */
const weight = 0.1

/** Revisions come and go. */
const kept = 4_000

const remember = (values: Map<string, number>, key: string, value: number): void => {
  values.delete(key)
  values.set(key, value)
  const [oldest] = values.keys()
  if (values.size > kept && oldest !== undefined) values.delete(oldest)
}

const blend = (before: number, measured: number): number => before + weight * (measured - before)

export class MeasuredCosts {
  readonly #byRuntime = new Map<RuntimeName, LevelCosts>()
  /** By revision: what a start took beyond what starts of its way take. */
  readonly #initMs = new Map<string, number>()
  readonly #idleMiB = new Map<string, number>()

  of(runtime: RuntimeName): LevelCosts {
    return this.#byRuntime.get(runtime) ?? untilMeasured
  }

  initMs(key: string): number {
    return this.#initMs.get(key) ?? 0
  }

  idleMiB(key: string, runtime: RuntimeName): number {
    return this.#idleMiB.get(key) ?? this.of(runtime).memoryMiB.idle
  }

  /** A start took so long, from its command's turn to the first pull, of which `initMs` were the function's own initialisation. */
  started(key: string, runtime: RuntimeName, way: StartWay, tookMs: number, initMs: number): void {
    const costs = this.of(runtime)
    const latencyMs = blend(costs.latencyMs[way], Math.max(0, tookMs - initMs))
    this.#byRuntime.set(runtime, { ...costs, latencyMs: { ...costs.latencyMs, [way]: latencyMs } })
    if (way !== 'fork' && way !== 'fork-parked') {
      const before = this.#initMs.get(key)
      remember(this.#initMs, key, before === undefined ? initMs : blend(before, initMs))
    }
  }

  /** What one of the level holds now. */
  holds(runtime: RuntimeName, level: CacheLevel, memoryMiB: number): void {
    const costs = this.of(runtime)
    const held = Math.max(1, blend(costs.memoryMiB[level], memoryMiB))
    this.#byRuntime.set(runtime, { ...costs, memoryMiB: { ...costs.memoryMiB, [level]: held } })
  }

  /** What it took to make one of the level. */
  spent(runtime: RuntimeName, level: Exclude<CacheLevel, 'idle'>, cpuMs: number): void {
    const costs = this.of(runtime)
    const spent = blend(costs.cpuMs[level], Math.max(0, cpuMs))
    this.#byRuntime.set(runtime, { ...costs, cpuMs: { ...costs.cpuMs, [level]: spent } })
  }

  idles(key: string, memoryMiB: number): void {
    remember(this.#idleMiB, key, Math.max(1, memoryMiB))
  }
}
