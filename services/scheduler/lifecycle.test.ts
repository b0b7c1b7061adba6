import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { InstancePolicy } from '../contracts/function.ts'
import { toldWithinMs, type InstanceReport } from '../contracts/node.ts'
import { Fleet } from './fleet.ts'
import { instancesToEnd } from './lifecycle.ts'
import { spokenFor, type Pool } from './pool.ts'

const now = 100_000
const revisionOf = (revisionId: string) => ({ tenant: 't', name: 'f', version: '$LATEST', revisionId })

const idle = (
  id: string,
  idleForMs: number,
  policy: Partial<InstancePolicy> = {},
  revisionId = 'r1',
): InstanceReport => ({
  instanceId: id,
  revision: revisionOf(revisionId),
  memoryMiB: 128,
  policy: { concurrency: 1, reuse: true, keepAliveMs: 1000, ...policy },
  state: 'idle',
  inFlight: 0,
  idleSince: now - idleForMs,
})

const fleetWith = (instances: InstanceReport[], leases = 0): { fleet: Fleet; pool: Pool } => {
  const fleet = new Fleet()
  fleet.apply(
    {
      nodeId: 'a',
      epoch: 'e',
      seq: 1,
      full: true,
      url: 'http://a.test',
      accepting: true,
      capacity: { memoryMiB: 10_000, instances: 100, cpus: 2 },
      instances,
      endedInvocations: [],
    },
    now,
  )
  const [pool] = fleet.poolsOf(revisionOf('r1'))
  if (!pool) throw new Error('no pool')
  for (let i = 0; i < leases; i++)
    pool.leases.push({ invocationId: `i${i}`, pool, lentAt: now, expiresAt: Infinity, at: i, overAt: undefined })
  return { fleet, pool }
}

const ids = (ends: ReturnType<typeof instancesToEnd>) => ends.map(({ instance, reason }) => `${instance.id} ${reason}`)

describe('instancesToEnd', () => {
  it('ends what was idle for its keep-alive and would have told by now if it was used in it, and nothing younger', () => {
    const { pool } = fleetWith([idle('old', 1000 + toldWithinMs), idle('young', 999 + toldWithinMs)])
    expect(ids(instancesToEnd(pool, now))).toEqual(['old keep-alive'])
  })

  it('ends at once with a keep-alive of 0', () => {
    const { pool } = fleetWith([idle('x', 0, { keepAliveMs: 0 })])
    expect(ids(instancesToEnd(pool, now))).toEqual(['x keep-alive'])
  })

  it('ends what its node finds not worth keeping, and keeps what it does', () => {
    const instances = [
      { ...idle('short', 600), keepAliveMs: 500 },
      { ...idle('long', 5000), keepAliveMs: 6000 },
      { ...idle('cold', 0), keepAliveMs: 0 },
    ]
    expect(ids(instancesToEnd(fleetWith(instances).pool, now))).toEqual(['short keep-alive', 'cold keep-alive'])
  })

  it('ends an instance of a strict-cold function at once, whatever is said of its keep-alive', () => {
    const { pool } = fleetWith([idle('x', 0, { cache: 'strict-cold' })])
    expect(ids(instancesToEnd(pool, now))).toEqual(['x keep-alive'])
  })

  it('ends a used single-use instance at once', () => {
    const { pool } = fleetWith([idle('x', 0, { reuse: false, keepAliveMs: 60_000 })])
    expect(ids(instancesToEnd(pool, now))).toEqual(['x single-use'])
  })

  it('keeps an instance that a lent invocation is on the way to', () => {
    const { pool } = fleetWith([idle('x', 5000)], 1)
    expect(instancesToEnd(pool, now)).toEqual([])
  })

  it('for any pool leaves a slot for every lease', () => {
    const instances = fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 4 })), {
      minLength: 1,
      maxLength: 8,
    })
    fc.assert(
      fc.property(instances, fc.nat(20), (shape, wanted) => {
        const made = shape.map(([idleForMs, concurrency], i) => idle(`x${i}`, idleForMs, { concurrency }))
        const slots = made.reduce((sum, { policy }) => sum + policy.concurrency, 0)
        const { fleet, pool } = fleetWith(made, Math.min(wanted, slots))
        for (const { instance } of instancesToEnd(pool, now)) fleet.drop(instance)
        expect(pool.slots).toBeGreaterThanOrEqual(spokenFor(pool))
      }),
    )
  })
})

describe('a revision that is superseded', () => {
  it('names the idle instances of every revision but the newest', () => {
    const { fleet } = fleetWith([
      idle('a', 1),
      idle('b', 2, {}, 'r0'),
      { ...idle('c', 0, {}, 'r0'), state: 'busy', inFlight: 1 },
    ])
    const ended = fleet.supersede(revisionOf('r1')).flatMap((pool) => instancesToEnd(pool, now))
    expect(ids(ended)).toEqual(['b old-revision'])
  })

  it('has what becomes idle, or is heard of, afterwards ended as well, until it is in use again', () => {
    const busy: Partial<InstanceReport> = { state: 'busy', inFlight: 1 }
    const { fleet } = fleetWith([idle('a', 0), { ...idle('b', 0, {}, 'r0'), ...busy }])
    const due = () => [...fleet.dueForEnd(now, 1)].flatMap((pool) => ids(instancesToEnd(pool, now)))
    fleet.supersede(revisionOf('r1'))
    expect(due()).toEqual([])
    const report = { nodeId: 'a', epoch: 'e', full: false, accepting: true, endedInvocations: [] }
    const settled = { instanceId: 'b', state: 'idle', inFlight: 0, idleSince: now } as const
    fleet.apply({ ...report, seq: 2, instances: [], changed: [settled] }, now)
    expect(due()).toEqual(['b old-revision'])
    for (const pool of fleet.poolsOf(revisionOf('r0')))
      for (const instance of pool.instances.values()) fleet.drop(instance)
    fleet.apply({ ...report, seq: 3, instances: [idle('c', 0, {}, 'r0')] }, now)
    expect(due()).toEqual(['c old-revision'])
    expect(fleet.supersede(revisionOf('r0')).flatMap((pool) => ids(instancesToEnd(pool, now)))).toEqual([
      'a old-revision',
    ])
    expect(due()).not.toContain('c old-revision')
  })
})
