import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { SeedFaults, UnfitError } from './seed-faults.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

describe('revisions of which no seed could be made', () => {
  it('are tried again after a while, unless their own code is why', () => {
    const faults = new SeedFaults()
    faults.note('a', new Error('no memory'))
    faults.note('b', new UnfitError('timers (1)'))
    expect([faults.failedLately('a'), faults.failedLately('b')]).toEqual([true, false])
    vi.advanceTimersByTime(5_000)
    expect(faults.failedLately('a')).toBe(false)
    expect([faults.unfit('a'), faults.unfit('b')]).toEqual([undefined, 'timers (1)'])
  })

  it('are forgotten when there are many, the oldest first', () => {
    const faults = new SeedFaults()
    for (let i = 0; i < 1000; i++) {
      faults.note(`f${i}`, new UnfitError('timers'))
      faults.note(`f${i}`, new Error('no memory'))
    }
    faults.note('f0', new UnfitError('timers'))
    faults.note('more', new UnfitError('timers'))
    faults.note('more', new Error('no memory'))
    expect(['f0', 'f1', 'f2', 'more'].map((key) => faults.unfit(key))).toEqual([
      'timers',
      undefined,
      'timers',
      'timers',
    ])
    expect(['f0', 'f1', 'more'].map((key) => faults.failedLately(key))).toEqual([false, true, true])
  })
})
