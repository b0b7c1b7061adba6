import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { quantile, type Bucket } from './latency.ts'

const bounds = [1, 2, 5, 10, 100]
const bucketsOf = (samples: readonly number[]): Bucket[] =>
  [...bounds, Infinity].map((upTo) => ({ upTo, count: samples.filter((sample) => sample <= upTo).length }))

describe('quantile', () => {
  it('lies in the bucket of the sample that has the rank', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.001, max: 100, noNaN: true }), { minLength: 1 }),
        fc.constantFrom(0.5, 0.9, 0.99),
        (samples, share) => {
          const sample = samples.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(share * samples.length) - 1)] ?? 0
          const upper = bounds.find((bound) => bound >= sample) ?? 0
          const lower = bounds[bounds.indexOf(upper) - 1] ?? 0
          const estimate = quantile(bucketsOf(samples), share) ?? Number.NaN
          expect(estimate).toBeGreaterThanOrEqual(lower)
          expect(estimate).toBeLessThanOrEqual(upper)
        },
      ),
    )
  })

  it('is unknown without samples, and no more than the highest bound beyond it', () => {
    expect(quantile(bucketsOf([]), 0.5)).toBeUndefined()
    expect(quantile(bucketsOf([5000]), 0.5)).toBe(100)
  })
})
