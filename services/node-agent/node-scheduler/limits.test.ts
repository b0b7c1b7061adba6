import { describe, expect, it } from 'vitest'
import { instanceLimits } from './limits.ts'

describe('instanceLimits', () => {
  it('adds the sandbox kernel to the function memory', () => {
    expect(instanceLimits(128, 96, 100)).toEqual({ memoryMiB: 224, cpus: 1, pids: 100 })
  })

  it('gives CPUs in proportion to memory above one', () => {
    expect(instanceLimits(3538, 0, 100).cpus).toBe(2)
  })
})
