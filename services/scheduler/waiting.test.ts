import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PlacementRequest } from '../contracts/placement.ts'
import { WaitingPlacements } from './waiting.ts'

const asked = (tenant: string, name: string, id: string, deadlineAt = 1_000): PlacementRequest => ({
  invocationId: id,
  revision: { tenant, name, version: '1', revisionId: 'r' },
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy: { concurrency: 1, reuse: true },
  startWish: 'auto',
  deadlineAt,
  excludeNodes: [],
})

const waits = (limits = { all: 100, perFunction: 100 }) => {
  const waiting = new WaitingPlacements(limits)
  const add = (tenant: string, name: string, id: string, gone = () => false, giveUpAt = 1_000) => {
    const promise = waiting.add(asked(tenant, name, id), giveUpAt, gone)
    promise.catch(() => undefined)
    return promise
  }
  const take = () => {
    const item = waiting.next()
    if (item) waiting.remove(item)
    return item?.request.invocationId
  }
  return { waiting, add, take }
}

describe('placements that wait', () => {
  it('are served in turn among tenants and their functions, first come first within one', () => {
    const { add, take } = waits()
    for (const id of ['a1', 'a2', 'a3']) void add('a', 'f', id)
    void add('a', 'g', 'g1')
    void add('b', 'f', 'b1')
    void add('b', 'f', 'b2')
    expect(Array.from({ length: 7 }, take)).toEqual(['a1', 'b1', 'g1', 'b2', 'a2', 'a3', undefined])
  })

  it('of which the caller is gone are passed over', async () => {
    const { add, take, waiting } = waits()
    const gone = add('a', 'f', 'a1', () => true)
    void add('a', 'f', 'a2')
    expect(take()).toBe('a2')
    await expect(gone).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    expect(waiting.size).toBe(0)
  })

  it('are refused beyond the limits', () => {
    const { add } = waits({ all: 3, perFunction: 2 })
    void add('a', 'f', 'a1')
    void add('a', 'f', 'a2')
    expect(() => add('a', 'f', 'a3')).toThrow(/perFunction/)
    void add('a', 'g', 'g1')
    expect(() => add('b', 'f', 'b1')).toThrow(/all/)
  })

  it('give up when their time has come, not before', async () => {
    const { waiting, add } = waits()
    const early = add('a', 'f', 'a1', undefined, 500)
    const late = add('a', 'f', 'a2')
    waiting.expire(499, false)
    expect(waiting.size).toBe(2)
    waiting.expire(500, false)
    await expect(early).rejects.toMatchObject({ code: 'NO_CAPACITY' })
    waiting.expire(1_000, true)
    await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
  })

  it('never make a tenant wait for more than one of each other tenant between two of its own', () => {
    const arrivals = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('f', 'g')), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(arrivals, (steps) => {
        const { add, take } = waits()
        steps.forEach(([tenant, name], index) => void add(tenant, name, `${tenant}${index}`))
        const served = steps.map(() => take()?.[0] ?? '')
        for (const tenant of new Set(served)) {
          const places = served.flatMap((each, index) => (each === tenant ? [index] : []))
          for (const [at, place] of places.entries()) {
            const since = served.slice((places[at - 1] ?? -1) + 1, place)
            expect(new Set(since).size).toBe(since.length)
          }
        }
      }),
    )
  })
})
