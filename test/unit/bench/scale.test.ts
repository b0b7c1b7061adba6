import { describe, expect, it } from 'vitest'
import { AdaptiveKeeper } from '../../bench/scale/adaptive-keeper.ts'
import { appsOf, Arrivals } from '../../bench/scale/azure-trace.ts'
import { burr, gap, logNormal } from '../../bench/scale/distributions.ts'
import { HybridHistogram } from '../../bench/scale/hybrid-histogram.ts'
import { fixedKeepAlive, HybridKeeper, type Keeper } from '../../bench/scale/keeper.ts'
import { Simulation } from '../../bench/scale/simulation.ts'
import { drawing } from '../../support/cache-replay.ts'

const minute = 60_000
const untilMs = 60 * minute
const shape = { seed: 5, functions: 12, mostPerDay: 20_000 }
const roomy = { memoryMiB: 16_384, instances: 64, cpus: 4 }
const tight = { memoryMiB: 512, instances: 2, cpus: 4 }
const keepers: Readonly<Record<string, () => Keeper>> = {
  fixed: () => fixedKeepAlive(10 * minute),
  hybrid: () => new HybridKeeper(),
  adaptive: () => new AdaptiveKeeper({ forks: true }),
}

const simulate = (keeper: Keeper, over: { seed?: number; functions?: number; capacity?: typeof roomy } = {}) => {
  const { seed = shape.seed, functions = shape.functions, capacity = roomy } = over
  const apps = appsOf({ ...shape, seed, functions })
  const simulation = new Simulation({ apps, seed, nodes: 3, capacity, untilMs, keeper })
  return { tally: simulation.run(), nodes: simulation.nodes }
}

const arrivalsUntil = (until: number): number => {
  let count = 0
  for (const [at, app] of appsOf(shape).entries()) {
    const arrivals = new Arrivals(app, shape.seed + 7919 * (at + 1))
    while (arrivals.next().atMs < until) count++
  }
  return count
}

describe.each(Object.entries(keepers))('simulation with %s', (_, keeper) => {
  it('gives the same figures for the same seed, and others for another', () => {
    const first = simulate(keeper()).tally
    expect(simulate(keeper()).tally).toEqual(first)
    expect(simulate(keeper(), { seed: 6 }).tally).not.toEqual(first)
  })

  it('counts every invocation of the trace once', () => {
    const { tally } = simulate(keeper())
    expect(tally.arrivals).toBe(arrivalsUntil(untilMs))
    expect(tally.warm + tally.cold + tally.refusals).toBe(tally.arrivals)
    expect(tally.startsMs).toHaveLength(tally.warm + tally.cold)
    expect([...tally.apps.values()].reduce((sum, { calls }) => sum + calls, 0)).toBe(tally.arrivals)
    expect(tally.inFlight).toBe(0)
  })

  it('refuses rather than exceed what nodes have', () => {
    const { tally, nodes } = simulate(keeper(), { functions: 60, capacity: tight })
    expect(tally.refusals).toBeGreaterThan(0)
    expect(tally.fullest).toBeGreaterThan(0.9)
    expect(tally.fullest).toBeLessThanOrEqual(1)
    expect(tally.warm + tally.cold + tally.refusals).toBe(tally.arrivals)
    expect(tally.idleMiB).toBeCloseTo(
      nodes
        .flatMap((node) => [...node.instances.values()])
        .filter(({ state }) => state === 'idle')
        .reduce((sum, { app }) => sum + app.usedMiB, 0),
    )
  })
})

describe('hybrid histogram', () => {
  it('keeps for the whole range while it knows nothing', () => {
    expect(new HybridHistogram().windows).toEqual({ prewarmMs: 0, keepAliveMs: 240 * minute })
  })

  it('loads ahead of calls that come by the clock, and keeps a margin around', () => {
    const histogram = new HybridHistogram()
    for (let call = 0; call < 20; call++) histogram.idled(30 * minute + 10)
    const { prewarmMs, keepAliveMs } = histogram.windows
    expect(prewarmMs).toBeCloseTo(27 * minute)
    expect(prewarmMs + keepAliveMs).toBeCloseTo(31 * 1.1 * minute)
  })

  it('keeps for the whole range when every idle time is as likely', () => {
    const histogram = new HybridHistogram()
    for (let bin = 0; bin < 240; bin++) histogram.idled(bin * minute)
    expect(histogram.windows).toEqual({ prewarmMs: 0, keepAliveMs: 240 * minute })
  })

  it('follows the mean of idle times that are out of its bounds', () => {
    const histogram = new HybridHistogram()
    histogram.idled(minute)
    for (let call = 0; call < 3; call++) histogram.idled(400 * minute)
    expect(histogram.windows.prewarmMs).toBeCloseTo(340 * minute)
    expect(histogram.windows.keepAliveMs).toBeCloseTo(120 * minute)
  })
})

const many = (draw: () => number, count = 100_000): number[] =>
  Array.from({ length: count }, draw).toSorted((a, b) => a - b)

describe('regenerated trace', () => {
  const draw = drawing(3)

  it('has the published medians of execution time and memory', () => {
    expect(many(() => logNormal(draw, -0.38, 2.36))[50_000]).toBeCloseTo(Math.exp(-0.38), 1)
    const memory = many(() => burr(draw, { c: 11.652, k: 0.221, scale: 107.083 }))
    expect((memory[50_000] ?? 0) / (107.083 * (2 ** (1 / 0.221) - 1) ** (1 / 11.652))).toBeCloseTo(1, 1)
  })

  it('has gaps of the coefficient of variation that is asked for', () => {
    for (const cv of [0, 0.5, 1, 4]) {
      const gaps = many(() => gap(draw, cv))
      const mean = gaps.reduce((sum, one) => sum + one, 0) / gaps.length
      const variance = gaps.reduce((sum, one) => sum + (one - mean) ** 2, 0) / gaps.length
      expect(mean).toBeCloseTo(1, 1)
      expect(Math.abs(Math.sqrt(variance) - cv)).toBeLessThan(0.05 * cv + 0.001)
    }
  })

  it('has the published shares of applications that are called rarely', () => {
    const apps = appsOf({ seed: 1, functions: 1000, mostPerDay: 20_000 })
    expect(apps.filter(({ perDay }) => perDay <= 24)).toHaveLength(450)
    expect(apps.filter(({ perDay }) => perDay <= 1440)).toHaveLength(810)
  })
})
