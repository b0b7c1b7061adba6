import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArrivalLog, IdleTimes, keptSamples, needOf, prospect } from './history.ts'

const gaps = fc.array(fc.integer({ min: 0, max: 20_000_000 }), { maxLength: keptSamples })

describe('the log of arrivals', () => {
  it('takes idle times from the end of one to the next, and none while something is in flight', () => {
    const log = new ArrivalLog(0)
    log.arrived(100)
    log.arrived(150)
    log.ended(200)
    log.ended(300)
    log.arrived(1300)
    expect(log.history()).toEqual({ gapsMs: [1000], overlaps: [1, 2, 1] })
    log.ended(1400)
    expect(log.history()).toEqual({ idleSince: 1400, gapsMs: [1000], overlaps: [1, 2, 1] })
  })

  it('keeps the newest only', () => {
    const log = new ArrivalLog(0)
    for (let at = 0; at < 1000; at++) {
      log.arrived(at * 10)
      log.ended(at * 10 + at / 1000)
    }
    const { gapsMs, overlaps } = log.history()
    expect([gapsMs.length, overlaps.length]).toEqual([keptSamples, keptSamples])
    expect(gapsMs.at(-1)).toBeCloseTo(10 - 0.998)
  })
})

describe('idle times', () => {
  it('become rarer with their length, and holding becomes dearer', () => {
    fc.assert(
      fc.property(
        gaps,
        fc.integer({ min: 0, max: 10_000_000 }),
        fc.integer({ min: 0, max: 10_000_000 }),
        (gapsMs, a, b) => {
          const times = new IdleTimes({ gapsMs })
          const [shorter, longer] = [Math.min(a, b), Math.max(a, b)]
          expect(times.survival(longer)).toBeLessThanOrEqual(times.survival(shorter))
          expect(times.expectedHoldMs(longer)).toBeGreaterThanOrEqual(times.expectedHoldMs(shorter) - 1e-6)
          expect(times.expectedHoldMs(longer)).toBeLessThanOrEqual(longer + 1e-6)
        },
      ),
    )
  })

  it('agree with counting', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 100_000_000, max: 200_000_000 }), { minLength: 1, maxLength: 64 }),
        fc.integer({ min: 15_000_000, max: 200_000_000 }),
        (gapsMs, ms) => {
          // The prior ends at 4 h: beyond it only the samples count.
          const counted = gapsMs.filter((gap) => gap > ms).length
          expect(new IdleTimes({ gapsMs }).survival(ms)).toBeCloseTo(counted / (gapsMs.length + 1), 9)
        },
      ),
    )
  })
})

describe('what is expected', () => {
  it('is a probability, whatever was seen', () => {
    fc.assert(
      fc.property(
        gaps,
        fc.array(fc.integer({ min: 1, max: 99 }), { maxLength: keptSamples }),
        fc.option(fc.integer({ min: 0, max: 100_000_000 }), { nil: undefined }),
        (gapsMs, overlaps, idleFor) => {
          const history = { gapsMs, overlaps, ...(idleFor === undefined ? {} : { idleSince: 100_000_000 - idleFor }) }
          const { likely, uses } = prospect(history, new IdleTimes(history), 100_000_000, 60_000)
          expect(likely).toBeGreaterThanOrEqual(0)
          expect(likely).toBeLessThanOrEqual(1)
          expect(uses).toBeGreaterThanOrEqual(likely)
        },
      ),
    )
  })

  it('counts instances, not requests, where one handles several', () => {
    const history = { overlaps: [1, 4, 8, 9] }
    expect([needOf({ gapsMs: [], ...history }, 2, 4), needOf({ gapsMs: [], ...history }, 3, 4)]).toEqual([0.4, 0.2])
  })
})
