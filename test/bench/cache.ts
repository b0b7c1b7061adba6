/** The adaptive cache beside fixed numbers, on the same trace. A replay: nothing is started, every decision is the node's own. */
import { mixedTrace, replay, type Manner } from '../support/cache-replay.ts'

const once = { precreatedSandboxes: 1, parkedRestores: 0, seeds: 0, parkedForks: 0 }
const manners: Readonly<Record<string, Manner>> = {
  'strict-cold': { cache: 'strict-cold' },
  '60 s keep-alive, one created': { keepAliveMs: 60_000, memoryMiB: 8192, fixed: once },
  '600 s keep-alive, one created': { keepAliveMs: 600_000, memoryMiB: 8192, fixed: once },
  '60 s, one parked restore, 6 seeds with forks': {
    keepAliveMs: 60_000,
    memoryMiB: 8192,
    fixed: { precreatedSandboxes: 1, parkedRestores: 1, seeds: 6, parkedForks: 1 },
  },
  'adaptive, 256 MiB': { memoryMiB: 256 },
  'adaptive, 1024 MiB, forks off': { fixed: { seeds: 0 } },
  'adaptive, 1024 MiB': {},
  'adaptive, 4096 MiB': { memoryMiB: 4096 },
}

export const compareCaches = (): readonly object[] => {
  const trace = mixedTrace(1)
  return Object.entries(manners).map(([manner, how]) => {
    const { calls, warm, startMs, heldMiB } = replay(trace, how)
    const { mean, p50, p99 } = startMs
    return {
      manner,
      calls,
      meanStartMs: Number(mean.toFixed(1)),
      p50Ms: p50,
      p99Ms: p99,
      warm: Number(warm.toFixed(2)),
      heldMiB: Math.round(heldMiB.mean),
      mostMiB: Math.round(heldMiB.most),
    }
  })
}
