/**
 * Preloaded into each process that `npm run bench -- schedule` measures (`node --import`): for how long its event loop stood still, and what
 * its garbage collector took. Its parent asks on the channel between the two.
 */
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks'
import { round } from './row.ts'

export interface Probed {
  /** By how much a timer of 2 ms was late. */
  readonly lateP99Ms: number
  readonly lateMaxMs: number
  readonly gcMs: number
  readonly gcMaxMs: number
}

/** What the parent says: forget what was until now, or tell what was since then. */
export type ProbeOrder = 'probe-again' | 'probe-tell'

export interface ProbeMessage {
  readonly kind: 'probed'
  readonly probed: Probed
}

const everyMs = 2

const delays = monitorEventLoopDelay({ resolution: everyMs })
let [gcMs, gcMaxMs] = [0, 0]

const again = (): void => {
  delays.reset()
  gcMs = gcMaxMs = 0
}

const late = (nanoseconds: number): number => round(Math.max(0, nanoseconds / 1e6 - everyMs))

new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    gcMs += duration
    gcMaxMs = Math.max(gcMaxMs, duration)
  }
}).observe({ entryTypes: ['gc'] })
delays.enable()

process.on('message', (order: ProbeOrder) => {
  if (order === 'probe-again') again()
  if (order !== 'probe-tell') return
  const probed = {
    lateP99Ms: late(delays.percentile(99)),
    lateMaxMs: late(delays.max),
    gcMs: round(gcMs),
    gcMaxMs: round(gcMaxMs),
  }
  process.send?.({ kind: 'probed', probed } satisfies ProbeMessage)
})
// It holds nobody up who wants to end.
process.channel?.unref()
