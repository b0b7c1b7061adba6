import { describe, expect, it } from 'vitest'
import { mixedTrace, replay, type Manner } from '../support/cache-replay.ts'

const minutes = 20
const none = { precreatedSandboxes: 0, parkedRestores: 0, seeds: 0, parkedForks: 0 }
const summary = (seed: number, manner: Manner) => {
  const { startMs, heldMiB } = replay(mixedTrace(seed, minutes), manner)
  return { meanMs: startMs.mean, meanMiB: heldMiB.mean, mostMiB: heldMiB.most }
}

describe('a recorded trace, replayed', { timeout: 120_000 }, () => {
  it('gives the same decisions every time', () => {
    const trace = mixedTrace(7, 5)
    const first = replay(trace).decisions
    expect(first.some(({ plannedMiB }) => plannedMiB > 0)).toBe(true)
    expect(replay(structuredClone(trace)).decisions).toEqual(first)
  })

  it('starts faster with less memory than a fixed keep-alive, also without forks', () => {
    for (const seed of [1, 2]) {
      const fixed = summary(seed, { keepAliveMs: 60_000, memoryMiB: 8192, fixed: { ...none, precreatedSandboxes: 1 } })
      const adaptive = summary(seed, { fixed: { seeds: 0 } })
      expect(adaptive.meanMs).toBeLessThan(0.75 * fixed.meanMs)
      expect(adaptive.meanMiB).toBeLessThan(1.05 * fixed.meanMiB)
    }
  })

  it('holds no more than its budget', () => {
    const { mostMiB } = summary(3, { memoryMiB: 256 })
    expect(mostMiB).toBeLessThanOrEqual(256)
  })

  it('holds nothing in strict-cold', () => {
    expect(summary(4, { cache: 'strict-cold' })).toMatchObject({ meanMiB: 0, mostMiB: 0 })
  })
})
