/** Policies of what is kept for invocations to come, on the same trace and the same fleet. Nothing is started: see `simulation.ts`. */
import { percentile } from '../statistics.ts'
import { floorPrice } from '../../../services/node-agent/node-scheduler/cache/worth.ts'
import { AdaptiveKeeper } from './adaptive-keeper.ts'
import { appsOf, type TraceShape } from './azure-trace.ts'
import { fixedKeepAlive, HybridKeeper, type Keeper } from './keeper.ts'
import { nodeCapacity } from './simulated-node.ts'
import { Simulation } from './simulation.ts'
import type { Tally } from './tally.ts'

export interface ScaleInput extends TraceShape {
  readonly nodes: number
  readonly hours: number
}

const keepers: Readonly<Record<string, () => Keeper>> = {
  'fixed 10 min': () => fixedKeepAlive(600_000),
  'fixed 1 min': () => fixedKeepAlive(60_000),
  'hybrid histogram': () => new HybridKeeper(),
  adaptive: () => new AdaptiveKeeper({ forks: false }),
  'adaptive, forks allowed': () => new AdaptiveKeeper({ forks: true }),
}

const toGiBs = (mibMs: number): number => Math.round(mibMs / 1024 / 1000)
const rounded = (value: number, digits: number): number => Number(value.toFixed(digits))

export const benchScale = (input: ScaleInput, progress: (line: string) => void): object[] => {
  const apps = appsOf(input)
  let fixedMiBms: number | undefined
  return Object.entries(keepers).map(([policy, keeper]) => {
    progress(policy)
    const { nodes, seed, hours } = input
    const untilMs = hours * 3_600_000
    const simulation = new Simulation({ apps, seed, nodes, capacity: nodeCapacity, untilMs, keeper: keeper() })
    const tally = simulation.run()
    fixedMiBms ??= tally.idleMiBms + tally.aheadMiBms
    const nodesUsed = simulation.nodes.filter(({ used }) => used).length
    return { policy, ...rowOf(tally, fixedMiBms), nodesUsed, mostNodesAtOnce: tally.mostNodesBusy }
  })
}

const rowOf = (tally: Tally, fixedMiBms: number) => {
  const { startsMs, warm, cold, refusals, idleMiBms, aheadMiBms } = tally
  const coldShares = [...tally.apps.values()].map((app) => app.cold / app.calls)
  const heldMiBms = idleMiBms + aheadMiBms
  const waitedMs = startsMs.reduce((sum, ms) => sum + ms, 0)
  return {
    calls: warm + cold + refusals,
    refusals,
    coldPercent: rounded((100 * cold) / startsMs.length, 2),
    appColdP50Percent: rounded(100 * percentile(coldShares, 0.5), 1),
    appColdP75Percent: rounded(100 * percentile(coldShares, 0.75), 1),
    idleGiBs: toGiBs(idleMiBms),
    aheadGiBs: toGiBs(aheadMiBms),
    heldToFixed: rounded(heldMiBms / fixedMiBms, 3),
    meanStartMs: rounded(waitedMs / startsMs.length, 2),
    p50Ms: percentile(startsMs, 0.5),
    p90Ms: percentile(startsMs, 0.9),
    p99Ms: percentile(startsMs, 0.99),
    meanColdMs: rounded(waitedMs / Math.max(1, cold), 1),
    // What the adaptive cache minimises: latency, and memory at the price that it has at the least.
    costSeconds: Math.round((waitedMs + (floorPrice * heldMiBms) / 1000) / 1000),
    prewarmed: tally.prewarmed,
    starts: Object.fromEntries(tally.ways),
  }
}
