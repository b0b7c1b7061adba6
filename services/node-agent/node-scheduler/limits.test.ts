import { describe, expect, it } from 'vitest'
import { availableParallelism } from 'node:os'
import { instanceLimits, startLimits } from './limits.ts'

describe('instanceLimits', () => {
  it('adds the sandbox kernel to the function memory', () => {
    expect(instanceLimits(128, 96, 100)).toEqual({ memoryMiB: 224, cpus: 1, pids: 100 })
  })

  it('gives CPUs in proportion to memory above one', () => {
    expect(instanceLimits(3538, 0, 100).cpus).toBe(2)
  })

  it('opens the CPUs, and nothing else, while an instance starts', () => {
    const limits = instanceLimits(128, 96, 100)
    expect(startLimits(limits)).toEqual({ ...limits, cpus: availableParallelism() })
    expect(startLimits({ ...limits, cpus: 10_000 }).cpus).toBe(10_000)
  })
})
