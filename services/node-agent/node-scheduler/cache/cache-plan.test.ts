import { describe, expect, it } from 'vitest'
import type { InstancePolicy, VersionConfig } from '../../../contracts/function.ts'
import { revisionKey } from '../../../contracts/placement.ts'
import { CachePlan, type CachePlanDeps, type Holdings } from './cache-plan.ts'

const configOf = (policy: InstancePolicy, revisionId = 'r1'): VersionConfig =>
  ({ tenant: 't', name: 'f', version: '1', revisionId, runtime: 'nodejs24.x', memoryMiB: 128, policy }) as VersionConfig
const plain: InstancePolicy = { concurrency: 1, reuse: true }

const setUp = (given: Partial<CachePlanDeps['config']> = {}) => {
  const clock = { now: 1_000_000 }
  const plan = new CachePlan({
    config: {
      cache: { mode: 'adaptive', forks: false },
      capacity: { memoryMiB: 4096, instances: 64 },
      seedIdleMs: 60_000,
      ...given,
    },
    runtimes: new Map([['nodejs24.x', { restorable: true }]]),
    now: () => clock.now,
  })
  const call = (config: VersionConfig, invocationId = 'i'): void => {
    const { tenant, name, version, revisionId } = config
    plan.habits.arrived({ invocationId, revision: { tenant, name, version, revisionId }, forced: false })
    clock.now += 10
    plan.habits.gone(invocationId)
    clock.now += 1000
  }
  return { plan, clock, call }
}

const refused = (fork: boolean | undefined, given: Partial<CachePlanDeps['config']> = {}) =>
  setUp(given).plan.forkRefused({ ...plain, ...(fork === undefined ? {} : { fork }) }) !== undefined

const holdings = (given: Partial<Holdings> = {}): Holdings => ({
  bookedMiB: 128,
  pinnedMiB: 0,
  instances: () => 1,
  prepared: () => 0,
  forks: () => ({ parked: 0, hasSeed: false }),
  ...given,
})

describe('the plan', () => {
  it('decides about a revision whose start came before its first call did', () => {
    const { plan, call } = setUp()
    const config = configOf(plain)
    plan.habits.uses(config)
    for (let time = 0; time < 5; time++) call(config)
    plan.decide(holdings(), 'time')
    expect(plan.revision(revisionKey(config))?.idle).toMatchObject({
      count: 1,
      reason: expect.stringMatching(/^4 idle/),
    })
  })

  it('carries the habits of a function over to its next revision, and decides about that alone', () => {
    const { plan, call } = setUp()
    plan.habits.uses(configOf(plain))
    for (let time = 0; time < 5; time++) call(configOf(plain))
    plan.habits.uses(configOf(plain, 'r2'))
    plan.decide(holdings(), 'time')
    expect(plan.last?.input.revisions.map(({ key, history }) => [key, history.gapsMs.length])).toEqual([
      ['t/f/1/r2', 4],
    ])
  })

  it('learns nothing from forced starts', () => {
    const { plan } = setUp()
    const { tenant, name, version, revisionId } = configOf(plain)
    plan.habits.arrived({ invocationId: 'i', revision: { tenant, name, version, revisionId }, forced: true })
    plan.decide(holdings(), 'time')
    expect(plan.last?.input.revisions).toEqual([])
  })

  it('keeps as many idle instances as are worth it, the last used first, and those that it has not decided about yet', () => {
    const { plan, call } = setUp()
    const config = configOf(plain)
    const key = revisionKey(config)
    expect(plan.keepAliveMs(key, plain, 0)).toBeUndefined()
    plan.habits.uses(config)
    for (let time = 0; time < 5; time++) call(config)
    plan.decide(holdings({ instances: () => 2 }), 'time')
    const [first, second, third] = [0, 1, 2].map((rank) => plan.keepAliveMs(key, plain, rank))
    expect(first).toBeGreaterThan(1000)
    expect([second, third]).toEqual([0, first])
  })

  it('keeps nothing for strict-cold, whatever the function fixes', () => {
    const { plan } = setUp({ cache: { mode: 'strict-cold', forks: true } })
    expect(plan.keepAliveMs('k', { ...plain, keepAliveMs: 5000 }, 0)).toBe(0)
    expect(setUp().plan.keepAliveMs('k', { ...plain, keepAliveMs: 5000 }, 0)).toBe(5000)
    expect(setUp().plan.keepAliveMs('k', { ...plain, keepAliveMs: 5000, cache: 'strict-cold' }, 0)).toBe(0)
  })

  it('allows forks to whom function or node allows them', () => {
    const forks = { cache: { mode: 'adaptive', forks: true } } as const
    expect([refused(undefined), refused(true), refused(false)]).toEqual([true, false, true])
    expect([refused(undefined, forks), refused(false, forks), refused(undefined, { seeds: 1 })]).toEqual([
      false,
      true,
      false,
    ])
  })

  it('forgets a function that was not called for long', () => {
    const { plan, clock, call } = setUp()
    plan.habits.uses(configOf(plain))
    call(configOf(plain))
    clock.now += 14_400_001
    plan.decide(holdings(), 'time')
    expect(plan.last?.input.revisions).toEqual([])
  })
})
