import { describe, expect, it } from 'vitest'
import { percentile, summarise } from '../../bench/statistics.ts'

describe('percentile', () => {
  it('is the nearest rank, whatever the order of the samples', () => {
    expect(percentile([30, 10, 20, 40], 0.5)).toBe(20)
    expect(percentile([30, 10, 20, 40], 0.99)).toBe(40)
    expect(percentile([7], 0.5)).toBe(7)
  })

  it('refuses to make a figure out of nothing', () => {
    expect(() => percentile([], 0.5)).toThrow('no samples')
  })
})

describe('summarise', () => {
  it('relates a row to the reference of the same run', () => {
    expect(summarise('warm', [1, 2, 3], [10, 20, 30], null)).toMatchObject({
      p50Ms: 2,
      ratioP50: 0.1,
      extraPssMiB: null,
    })
  })
})
