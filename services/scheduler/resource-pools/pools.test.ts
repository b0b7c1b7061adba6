/** Resource pools, as requests see them: where they get in, what they may hold, what is kept for them, and that nobody waits for ever. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ResourcePool } from '../../contracts/resource-pool.ts'
import { explain } from '../explain.ts'
import { needsOf, Yard, type Asked, type Outcome } from '../testing/yard.ts'

const refusedWith = (code: string, text = '') =>
  expect.objectContaining({ code, message: expect.stringContaining(text) as string }) as Error

describe('pools', () => {
  const rules: ResourcePool[] = [
    { name: 'acme', tenants: ['acme'] },
    { name: 'gpu', onlyChosen: true },
  ]
  const nodes = { a: {}, b: { pool: 'acme' }, c: { pool: 'gpu' } }

  it('take the functions that they are for, and no others', () => {
    const yard = new Yard(nodes, rules)
    expect(yard.ask({ tenant: 'acme' }).placement?.nodeId).toBe('b')
    expect(yard.ask({ tenant: 't' }).placement?.nodeId).toBe('a')
    expect(yard.ask({ tenant: 't', name: 'g', policy: { pool: 'gpu' } }).placement?.nodeId).toBe('c')
    expect(yard.ask({ tenant: 't', name: 'h', policy: { pool: 'acme' } }).error).toEqual(
      refusedWith('NO_CAPACITY', 'belongs to other tenants'),
    )
  })

  it('lend no instance on a node that the function may not run on any more', () => {
    const yard = new Yard({ a: {}, b: { pool: 'acme' } }, rules)
    // As it was before the pool was acme’s.
    yard.report('b', {
      instances: [{ instanceId: 'x', ...needsOf({ tenant: 't' }), state: 'idle', inFlight: 0, idleSince: yard.now }],
    })
    expect(yard.ask({ tenant: 't' }).placement).toMatchObject({ nodeId: 'a', decision: 'start' })
  })

  it('wait for a node of their own, and not for one of another', async () => {
    const yard = new Yard({ a: {} }, rules)
    const asked = yard.ask({ tenant: 'acme' })
    yard.tick(1_000)
    expect(asked).toMatchObject({ placement: undefined, error: undefined })
    yard.join('b', { pool: 'acme' })
    await yard.turn()
    expect(asked.placement?.nodeId).toBe('b')
    const late = new Yard({ a: {} }, rules)
    const tooLate = late.ask({ tenant: 'acme' })
    late.tick(5_001)
    await late.turn()
    expect(tooLate.error).toEqual(refusedWith('NO_CAPACITY'))
  })

  it('are told by explain, with the score of their nodes', () => {
    const yard = new Yard({ a: {}, b: {}, c: { pool: 'gpu' } }, rules)
    yard.ask({ tenant: 't', name: 'other' })
    const request = {
      ...needsOf({ tenant: 't' }),
      invocationId: 'x',
      startWish: 'auto' as const,
      deadlineAt: yard.now + 1000,
      excludeNodes: [],
    }
    expect(explain(yard.fleet.view, request, yard.now)).toMatchObject({
      decision: 'start',
      nodeId: 'b',
      pool: 'default',
      candidates: [
        { nodeId: 'b', score: 100, freeMiB: 1024, against: [] },
        { nodeId: 'a', score: 88, freeMiB: 896, against: [] },
      ],
    })
  })
})

describe('limits', () => {
  it('of a tenant count all its functions, and end its own idle instances first', () => {
    const yard = new Yard({ a: {} }, [{ name: 'default', tenantLimit: { instances: 2 } }])
    const [first, second] = [yard.ask({ name: 'f' }), yard.ask({ name: 'g' })]
    expect(second.placement).toBeDefined()
    expect(yard.ask({ name: 'h' }).error).toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      details: { limit: 'tenantLimit' },
    })
    expect(yard.ask({ tenant: 'u' }).placement).toBeDefined()
    yard.over(first)
    expect(yard.ask({ name: 'h' }).placement).toBeDefined()
    expect([yard.instancesOf('t', 'f'), yard.instancesOf('t')]).toEqual([0, 2])
  })

  it('of a function count its memory over all versions', () => {
    const yard = new Yard({ a: {} }, [{ name: 'default', functionLimit: { memoryMiB: 300 } }])
    expect(yard.ask({ version: '1' }).placement).toBeDefined()
    expect(yard.ask({ version: '2' }).placement).toBeDefined()
    expect(yard.ask({ version: '3' }).error).toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      details: { limit: 'functionLimit' },
    })
    expect(yard.ask({ name: 'g' }).placement).toBeDefined()
  })
})

describe('reserved capacity', () => {
  it('of a function is kept from others, one piece on one node for each place', () => {
    const yard = new Yard({ a: { memoryMiB: 512 }, b: { memoryMiB: 512 } })
    yard.claim({ name: 'own', memoryMiB: 384, reservedConcurrency: 2 })
    // 128 MiB are left on each node.
    expect(new Set(['x', 'y'].map((name) => yard.ask({ name }).placement?.nodeId))).toEqual(new Set(['a', 'b']))
    expect(yard.ask({ name: 'z' }).error).toEqual(refusedWith('NO_CAPACITY'))
    const own = { name: 'own', memoryMiB: 384, reservedConcurrency: 2 }
    const first = yard.ask(own)
    expect(first.placement?.reason).toContain('a place is reserved')
    expect(yard.ask(own).placement).toBeDefined()
    expect(yard.ask(own).error).toMatchObject({ details: { limit: 'reservedConcurrency' } })
  })

  it('stays the function’s when its instance has ended', () => {
    const yard = new Yard({ a: { memoryMiB: 256 } })
    yard.claim({ name: 'own', reservedConcurrency: 2 })
    const own = { name: 'own', reservedConcurrency: 2, policy: { keepAliveMs: 0 } }
    const once = yard.ask(own)
    yard.over(once)
    // At once: no time passes in which another could have it.
    expect(yard.instancesOf('t', 'own')).toBe(0)
    expect(yard.ask({ name: 'x' }).error).toEqual(refusedWith('NO_CAPACITY'))
    expect([yard.ask(own).placement, yard.ask(own).placement]).not.toContain(undefined)
  })

  it('is not lost with an idle instance, which ends for nobody else', () => {
    const yard = new Yard({ a: { memoryMiB: 256 } })
    yard.claim({ name: 'own', reservedConcurrency: 1 })
    yard.over(yard.ask({ name: 'own', reservedConcurrency: 1 }))
    expect(yard.ask({ name: 'x' }).placement).toBeDefined()
    expect(yard.ask({ name: 'y' }).error).toEqual(refusedWith('NO_CAPACITY'))
    expect([yard.ended, yard.instancesOf('t', 'own')]).toEqual([[], 1])
  })

  it('is freed when it is taken back', () => {
    const yard = new Yard({ a: { memoryMiB: 256 } })
    yard.claim({ name: 'own', reservedConcurrency: 2 })
    yard.claim({ name: 'own', reservedConcurrency: 0 })
    expect(yard.ask({ name: 'x' }).placement).toBeDefined()
  })

  it('moves to other nodes with the end of its own', () => {
    const yard = new Yard({ a: { memoryMiB: 128 }, b: { memoryMiB: 256 } })
    yard.claim({ name: 'own', reservedConcurrency: 2 })
    expect([yard.fleet.node('a')?.kept.places, yard.fleet.node('b')?.kept.places]).toEqual([1, 1])
    yard.fleet.removeNode('a')
    yard.tick()
    expect(yard.fleet.node('b')?.kept).toEqual({ places: 2, memoryMiB: 256 })
  })

  it('takes the room of idle instances, and waits for that of busy ones before all others', async () => {
    const yard = new Yard({ a: { memoryMiB: 256 } })
    const [idle, busy] = [yard.ask({ name: 'x' }), yard.ask({ name: 'y' })]
    yard.over(idle)
    yard.claim({ name: 'own', reservedConcurrency: 2 })
    expect([yard.ended.length, yard.fleet.node('a')?.kept.places]).toEqual([1, 1])
    const own = { name: 'own', reservedConcurrency: 2 }
    expect(yard.ask(own).placement).toBeDefined()
    const waits = yard.ask(own)
    expect(waits).toMatchObject({ placement: undefined, error: undefined })
    // The next request of who is in the way does not get the slot again.
    yard.dispatcher.over([busy.id])
    const later = yard.ask({ name: 'y' })
    yard.settle()
    yard.tick()
    await yard.turn()
    expect(waits.placement).toBeDefined()
    expect(later.placement).toBeUndefined()
  })

  it('of a tenant is for whichever of its functions comes', () => {
    const yard = new Yard({ a: { memoryMiB: 512 } }, [
      { name: 'default', reserved: { acme: { instances: 2, memoryMiB: 128 } } },
    ])
    yard.tick()
    const others = Array.from({ length: 3 }, (_, n) => yard.ask({ tenant: 'u', name: `f${n}` }))
    expect(others.map(({ placement }) => placement !== undefined)).toEqual([true, true, false])
    expect(yard.ask({ tenant: 'acme', name: 'x' }).placement).toBeDefined()
    expect(yard.ask({ tenant: 'acme', name: 'y' }).placement).toBeDefined()
    expect(yard.ask({ tenant: 'acme', name: 'z' }).error).toEqual(refusedWith('NO_CAPACITY'))
  })
})

/** So many requests at once. */
const crowd = (yard: Yard, asked: Asked, count: number): Outcome[] =>
  Array.from({ length: count }, () => yard.ask(asked))

/** One of those that run ends, and its caller asks again at once, before its node has reported. */
const again = (yard: Yard, outcomes: Outcome[], at: number): void => {
  const outcome = outcomes[at]
  if (!outcome?.placement) return yard.tick()
  yard.dispatcher.over([outcome.id])
  outcomes[at] = yard.ask(outcome.asked)
  yard.settle()
  yard.tick()
}

describe('shares', () => {
  it('are given back by who has more, as its invocations end', async () => {
    const yard = new Yard({ a: { memoryMiB: 512 } })
    const busy = crowd(yard, { tenant: 'a' }, 4)
    const waits = crowd(yard, { tenant: 'b' }, 2)
    expect(waits.map(({ error }) => error)).toEqual([undefined, undefined])
    for (let at = 0; at < 4; at++) again(yard, busy, at)
    await yard.turn()
    expect(waits.map(({ placement }) => placement?.decision)).toEqual(['start', 'start'])
    expect([yard.instancesOf('a'), yard.instancesOf('b')]).toEqual([2, 2])
    // At its share it is refused at once.
    expect(yard.ask({ tenant: 'b' }).error).toEqual(refusedWith('NO_CAPACITY'))
  })

  it('are those of their weights', async () => {
    const yard = new Yard({ a: { memoryMiB: 1024 } }, [{ name: 'default', weights: { b: 3 } }])
    const busy = crowd(yard, { tenant: 'a' }, 8)
    const waits = crowd(yard, { tenant: 'b' }, 8)
    for (let round = 0; round < 3; round++) for (let at = 0; at < 8; at++) again(yard, busy, at)
    await yard.turn()
    expect([yard.instancesOf('a'), yard.instancesOf('b')]).toEqual([2, 6])
    expect(waits.filter(({ placement }) => placement).length).toBe(6)
  })

  it('are waited for ten seconds at most', async () => {
    const yard = new Yard({ a: { memoryMiB: 256 } })
    crowd(yard, { tenant: 'a' }, 2)
    const waits = yard.ask({ tenant: 'b' })
    yard.tick(9_900)
    await yard.turn()
    expect(waits.error).toBeUndefined()
    yard.tick(200)
    await yard.turn()
    expect(waits.error).toEqual(refusedWith('NO_CAPACITY', 'less than its share'))
  })

  it('keep nobody from an instance of its own while nobody waits', () => {
    const yard = new Yard({ a: { memoryMiB: 256 } })
    const busy = crowd(yard, { tenant: 'a' }, 2)
    for (let round = 0; round < 5; round++) again(yard, busy, 0)
    expect(busy[0]?.placement?.decision).toMatch(/idle|shared/)
  })

  it('leave room in one piece to a tenant that has nothing, even where each has its share', async () => {
    const yard = new Yard({ a: { memoryMiB: 512 }, b: { memoryMiB: 512 } })
    const busy = ['x', 'y', 'x', 'y'].map((tenant) => yard.ask({ tenant }))
    const waits = yard.ask({ tenant: 'late', memoryMiB: 512 })
    // 256 MiB are free on each node, and nobody has more than a quarter.
    expect(waits).toMatchObject({ placement: undefined, error: undefined })
    for (let round = 0; round < 8; round++) for (const at of busy.keys()) again(yard, busy, at)
    await yard.turn()
    expect(waits.placement).toBeDefined()
  })

  it('starve no tenant, however many fill the pool and ask again at once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
        fc.constantFrom(128, 256, 512),
        fc.array(fc.nat(31), { minLength: 1, maxLength: 8 }),
        async (weights, memoryMiB, order) => {
          const named = weights.map((weight, n) => [`t${n}`, weight] as const)
          const yard = new Yard({ a: { memoryMiB: 512 }, b: { memoryMiB: 512 } }, [
            { name: 'default', weights: Object.fromEntries(named) },
          ])
          const busy = Array.from({ length: 12 }, (_, n) => yard.ask({ tenant: `t${n % weights.length}` }))
          const late = yard.ask({ tenant: 'late', memoryMiB })
          // Each of those that run ends some time, in whatever order.
          for (let round = 0; round < 4; round++)
            for (const at of [...order, ...busy.keys()]) {
              again(yard, busy, at % busy.length)
              // Who waited for room and has it by now runs, and ends as the others do.
              await yard.turn()
            }
          expect(late.error).toBeUndefined()
          expect(late.placement).toBeDefined()
        },
      ),
      { numRuns: 60 },
    )
  })
})
