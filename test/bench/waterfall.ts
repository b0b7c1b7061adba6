/** Where the time of a start goes: the phases that the platform tells in `Server-Timing`, by kind of start. */
import { parseServerTiming } from '../../services/cli/waterfall.ts'
import { percentile } from './statistics.ts'

export interface Waterfall {
  readonly name: string
  /** Median of each phase, ms, in the order in which they begin. Phases overlap: `queue` lasts until the instance has the request. */
  readonly phases: Readonly<Record<string, number>>
  /** Median of what the caller waited beyond the end of the last phase, ms: connections, the gateway's first and last steps. */
  readonly restMs: number
}

export interface TimedAnswer {
  readonly tookMs: number
  readonly serverTiming: string
}

const round = (ms: number): number => Number(ms.toFixed(2))

const push = (map: Map<string, number[]>, key: string, value: number) => map.set(key, [...(map.get(key) ?? []), value])
const median = (values: readonly number[] = []) => percentile(values, 0.5)

export const waterfallOf = (name: string, answers: readonly TimedAnswer[]): Waterfall => {
  const durations = new Map<string, number[]>()
  const offsets = new Map<string, number[]>()
  const rests: number[] = []
  for (const { tookMs, serverTiming } of answers) {
    let end = 0
    for (const { name: phase, durationMs, startMs } of parseServerTiming(serverTiming)) {
      if (durationMs === undefined || startMs === undefined) continue
      push(durations, phase, durationMs)
      push(offsets, phase, startMs)
      end = Math.max(end, startMs + durationMs)
    }
    rests.push(tookMs - end)
  }
  const inOrder = [...durations.keys()].sort((a, b) => median(offsets.get(a)) - median(offsets.get(b)))
  const phases = Object.fromEntries(inOrder.map((phase) => [phase, round(median(durations.get(phase)))]))
  return { name, phases, restMs: round(median(rests)) }
}
