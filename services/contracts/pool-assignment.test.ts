import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { runtimeNames } from './function.ts'
import { poolFor, whyNoPool, type Assigned } from './pool-assignment.ts'
import type { ResourcePool } from './resource-pool.ts'

const asked = (tenant: string, over: Partial<Assigned> = {}, pool?: string): Assigned => ({
  revision: { tenant },
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy: { concurrency: 1, reuse: true, ...(pool === undefined ? {} : { pool }) },
  ...over,
})

const rules: ResourcePool[] = [
  { name: 'acme', tenants: ['acme'] },
  { name: 'gpu', onlyChosen: true },
  { name: 'python', runtimes: ['python3.11'] },
  { name: 'large', minMemoryMiB: 2048 },
]

describe('the pool of a function', () => {
  it.each([
    ['acme', asked('acme')],
    ['python', asked('t', { runtime: 'python3.11' })],
    ['large', asked('t', { memoryMiB: 4096 })],
    ['default', asked('t')],
    ['gpu', asked('t', {}, 'gpu')],
    ['gpu', asked('acme', {}, 'gpu')],
    ['default', asked('acme', {}, 'default')],
    [undefined, asked('t', {}, 'acme')],
    [undefined, asked('t', { memoryMiB: 128 }, 'large')],
  ])('is %s', (pool, of) => {
    expect(poolFor(rules, of)).toBe(pool)
  })

  it('is default without rules, or the one that it chose', () => {
    expect(poolFor([], asked('t'))).toBe('default')
    expect(poolFor([], asked('t', {}, 'gpu'))).toBe('gpu')
  })

  it('is none where every pool is for others, and the reason says why', () => {
    const own: ResourcePool[] = [{ name: 'default', tenants: ['acme'] }]
    expect(poolFor(own, asked('t'))).toBeUndefined()
    expect(whyNoPool(own, asked('t'))).toContain('no pool is for functions of tenant t')
    expect(whyNoPool(own, asked('t', {}, 'default'))).toContain('belongs to other tenants')
  })

  it('is never one that belongs to other tenants, whatever the rules and the function say', () => {
    const tenant = fc.constantFrom('a', 'b', 'c')
    const name = fc.constantFrom('default', 'p', 'q')
    const rule: fc.Arbitrary<ResourcePool> = fc.record(
      {
        name,
        tenants: fc.uniqueArray(tenant, { minLength: 1 }),
        runtimes: fc.uniqueArray(fc.constantFrom(...runtimeNames), { minLength: 1 }),
        minMemoryMiB: fc.constantFrom(128, 512),
        maxMemoryMiB: fc.constantFrom(256, 1024),
        onlyChosen: fc.boolean(),
      },
      { requiredKeys: ['name'] },
    )
    const list = fc.uniqueArray(rule, { selector: (each) => each.name, maxLength: 3 })
    const chosen = fc.option(name, { nil: undefined })
    fc.assert(
      fc.property(list, tenant, fc.constantFrom(...runtimeNames), fc.constantFrom(128, 512, 2048), chosen, (...all) => {
        const [pools, who, runtime, memoryMiB, pool] = all
        const given = poolFor(pools, asked(who, { runtime, memoryMiB }, pool))
        if (given === undefined) return
        if (pool !== undefined) expect(given).toBe(pool)
        const of = pools.find((each) => each.name === given)
        expect(of?.tenants ?? [who]).toContain(who)
        expect(of?.runtimes ?? [runtime]).toContain(runtime)
        expect(memoryMiB).toBeGreaterThanOrEqual(of?.minMemoryMiB ?? 0)
        expect(memoryMiB).toBeLessThanOrEqual(of?.maxMemoryMiB ?? Infinity)
      }),
    )
  })
})
