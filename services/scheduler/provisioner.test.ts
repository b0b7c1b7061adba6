import { describe, expect, it } from 'vitest'
import type { ProvisionedClaim } from '../contracts/claims.ts'
import { PlatformError } from '../contracts/errors.ts'
import { ClaimBook } from './claim-book.ts'
import { needsOf, Yard, type Asked } from './testing/yard.ts'

const of = (asked: Asked, concurrency: number): ProvisionedClaim => ({ needs: needsOf(asked), concurrency })
const revision = (asked: Asked) => needsOf(asked).revision

/** Until all that is wanted has been started, and the nodes have said so. */
const settle = async (yard: Yard, rounds = 6): Promise<void> => {
  for (let n = 0; n < rounds; n++) {
    yard.tick()
    yard.settle()
    await yard.turn()
  }
}

const provisioned = async (concurrency = 3, over: Asked = {}, node = {}) => {
  const yard = new Yard({ a: node })
  yard.claim({ provisioned: [of(over, concurrency)] })
  await settle(yard)
  return yard
}

describe('provisioned versions', () => {
  it('have their instances without a request, few at a time, and tell how far they are', async () => {
    const yard = new Yard({ a: {} })
    yard.claim({ provisioned: [of({}, 3)] })
    expect(yard.dispatcher.provisioned(revision({}))).toEqual({ available: 0, allocated: 2 })
    await settle(yard)
    expect(yard.started).toHaveLength(3)
    expect(yard.started.every((command) => command.provisioned)).toBe(true)
    expect(yard.dispatcher.provisioned(revision({}))).toEqual({ available: 3, allocated: 3 })
  })

  it('use them first, and more only above their number', async () => {
    const yard = await provisioned(2)
    const kinds = [1, 2, 3].map(() => yard.ask().placement?.decision)
    expect(kinds).toEqual(['idle', 'idle', 'start'])
  })

  it('have so many slots together as they asked for', async () => {
    const yard = await provisioned(5, { policy: { concurrency: 2 } })
    expect(yard.started).toHaveLength(3)
    expect(yard.dispatcher.provisioned(revision({ policy: { concurrency: 2 } }))).toEqual({
      available: 5,
      allocated: 5,
    })
  })

  it('keep them beyond their keep-alive, and what is more ends', async () => {
    const yard = await provisioned(2, { policy: { keepAliveMs: 1_000 } })
    const more = [1, 2, 3].map(() => yard.ask({ policy: { keepAliveMs: 1_000 } }))
    for (const each of more) yard.over(each)
    yard.tick(2_000)
    expect(yard.instancesOf('t')).toBe(2)
    yard.claim({ provisioned: [] })
    yard.tick(2_000)
    expect(yard.instancesOf('t')).toBe(0)
  })

  it('get one anew for each that died', async () => {
    const yard = await provisioned(2)
    const [gone] = yard.all()
    if (!gone) throw new Error('nothing was started')
    yard.report('a', { changed: [{ instanceId: gone.id, state: 'ended', inFlight: 0, reason: 'exit' }] })
    expect(yard.dispatcher.provisioned(revision({})).available).toBe(1)
    await settle(yard)
    expect(yard.started).toHaveLength(3)
    expect(yard.dispatcher.provisioned(revision({})).available).toBe(2)
  })

  it('get them anew on other nodes when theirs is gone', async () => {
    const yard = new Yard({ a: {}, b: {} })
    yard.claim({ provisioned: [of({}, 2)] })
    await settle(yard)
    expect([...yard.fleet.nodes()].map(({ instances }) => instances.size)).toEqual([1, 1])
    yard.fleet.removeNode('a')
    await settle(yard)
    expect(yard.fleet.node('b')?.instances.size).toBe(2)
  })

  it('lose none to others that need room', async () => {
    const yard = await provisioned(2, {}, { memoryMiB: 256 })
    expect(yard.ask({ name: 'g' }).error).toMatchObject({ code: 'NO_CAPACITY' })
    expect(yard.ended).toEqual([])
  })

  it('move with the alias: the next version’s are made before the last one’s end', async () => {
    const yard = await provisioned(2, { version: '1', policy: { keepAliveMs: 1_000 } })
    yard.claim({ provisioned: [of({ version: '2', policy: { keepAliveMs: 1_000 } }, 2)] })
    await settle(yard)
    expect(yard.dispatcher.provisioned(revision({ version: '2' })).available).toBe(2)
    yard.tick(2_000)
    expect(yard.all().map(({ pool }) => pool.revision.version)).toEqual(['2', '2'])
  })

  it('say why there are no more, and try again ever more rarely', async () => {
    const yard = new Yard({ a: { memoryMiB: 128 } })
    yard.claim({ provisioned: [of({}, 2)] })
    await settle(yard)
    expect(yard.dispatcher.provisioned(revision({}))).toMatchObject({
      available: 1,
      problem: expect.stringContaining('128 MiB') as string,
    })
    yard.join('b')
    yard.tick(5_000)
    await settle(yard)
    expect(yard.dispatcher.provisioned(revision({}))).toEqual({ available: 2, allocated: 2 })
  })

  it('whose initialisation fails are not started without end', async () => {
    const yard = new Yard({ a: {} })
    yard.failStarts = new PlatformError('START_FAILED', 'no such module')
    yard.claim({ provisioned: [of({}, 1)] })
    let tries = 0
    for (let seconds = 0; seconds < 120; seconds++) {
      yard.tick(1_000)
      if (yard.instancesOf('t') > 0) tries++
      await yard.turn()
    }
    expect(tries).toBeGreaterThan(3)
    expect(tries).toBeLessThan(12)
    expect(yard.dispatcher.provisioned(revision({})).problem).toContain('before it was initialised')
  })

  it('have a part of what is reserved for the function that other versions do not get', async () => {
    const yard = new Yard({ a: {} })
    yard.claim({ reservedConcurrency: 3, provisioned: [of({ version: '1' }, 2)] })
    await settle(yard)
    const ask = (version: string) => yard.ask({ version, reservedConcurrency: 3 })
    expect(ask('2').placement?.decision).toBe('start')
    expect(ask('2').error).toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      message: expect.stringContaining('2 are provisioned for other versions') as string,
    })
    expect([ask('1'), ask('1')].map(({ placement }) => placement?.decision)).toEqual(['idle', 'idle'])
    expect(ask('1').error).toMatchObject({ code: 'TOO_MANY_REQUESTS' })
  })

  it('are started in the places that are reserved for the function', async () => {
    const yard = new Yard({ a: { memoryMiB: 256 } })
    yard.claim({ reservedConcurrency: 2, provisioned: [of({}, 2)] })
    await settle(yard)
    expect([yard.instancesOf('t'), yard.fleet.node('a')?.kept.places]).toEqual([2, 0])
  })
})

const claim = (name: string, reservedConcurrency: number) => {
  const {
    revision: { tenant },
    ...needs
  } = needsOf({ name })
  return { needs: { ...needs, revision: { tenant, name } }, reservedConcurrency, provisioned: [] }
}
const book = () => {
  const told: [string, number | undefined][] = []
  return {
    told,
    book: new ClaimBook(({ needs, reservedConcurrency }) => told.push([needs.revision.name, reservedConcurrency])),
  }
}

describe('claims', () => {
  it('that are told again, by whomever, change nothing', () => {
    const { told, book: claims } = book()
    for (const gateway of [{}, {}]) claims.tell(gateway, claim('f', 1))
    claims.tell({}, claim('f', 2))
    expect(told).toEqual([
      ['f', 1],
      ['f', 2],
    ])
  })

  it('stay while gateways restart, and are gone when one has told all and they are not among it', () => {
    const { told, book: claims } = book()
    const [first, second] = [{}, {}]
    for (const name of ['f', 'g']) claims.tell(first, claim(name, 1))
    claims.gone(first)
    expect(claims.isComplete).toBe(false)
    claims.tell(second, claim('f', 1))
    claims.toldAll()
    expect(claims.isComplete).toBe(true)
    expect(told).toEqual([
      ['f', 1],
      ['g', 1],
      ['g', undefined],
    ])
  })

  it('of another gateway that is there are not taken back', () => {
    const { told, book: claims } = book()
    claims.tell({}, claim('f', 1))
    claims.toldAll()
    expect(told).toEqual([['f', 1]])
  })

  it('that are taken back are void at once', () => {
    const { told, book: claims } = book()
    claims.tell({}, claim('f', 1))
    claims.tell({}, { ...claim('f', 0) })
    claims.tell({}, { ...claim('f', 0) })
    expect(told).toEqual([
      ['f', 1],
      ['f', 0],
    ])
  })
})
