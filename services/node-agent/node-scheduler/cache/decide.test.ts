import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { InstancePolicy } from '../../../contracts/function.ts'
import { decide } from './decide.ts'
import type { CacheDecision, CacheInput, RevisionInput } from './input.ts'
import { MeasuredCosts } from './measured-costs.ts'

const now = 1_000_000_000
const costs = new MeasuredCosts().of('nodejs24.x')
const plain: InstancePolicy = { concurrency: 1, reuse: true }
const noRuntime = { runtime: 'nodejs24.x', restorable: true, costs, held: { created: 0, parked: 0 } } as const

const revisionOf = (given: Partial<RevisionInput> = {}): RevisionInput => ({
  key: 't/f/1/r',
  runtime: 'nodejs24.x',
  policy: plain,
  history: { idleSince: now, gapsMs: [], overlaps: [1] },
  initMs: 0,
  idleMiB: 50,
  instances: 1,
  held: { seed: false, parkedForks: 0 },
  forkRefused: 'not allowed',
  ...given,
})

const inputOf = (given: Partial<CacheInput> = {}): CacheInput => ({
  now,
  mode: 'adaptive',
  budgetMiB: 1024,
  roomMiB: 8192,
  fixed: { seedIdleMs: 60_000 },
  maxParkedForks: 8,
  runtimes: [{ ...noRuntime, history: { idleSince: now - 3_600_000, gapsMs: [], overlaps: [] } }],
  revisions: [],
  ...given,
})

const called = (everyMs: number, times = 30) => ({
  idleSince: now,
  gapsMs: Array<number>(times).fill(everyMs),
  overlaps: Array<number>(times).fill(1),
})
const forkable = { policy: { ...plain, reuse: false }, instances: 0 }
const withoutRefusal = ({ forkRefused: _refused, ...rest }: RevisionInput): RevisionInput => rest

const forksOf = (given: Partial<RevisionInput>, around: Partial<CacheInput> = {}) => {
  const [decided] = decide(
    inputOf({ revisions: [withoutRefusal(revisionOf({ ...forkable, ...given }))], ...around }),
  ).revisions
  return [decided?.seed.count, decided?.parkedFork.count]
}

const aheadOf = (history: CacheInput['runtimes'][number]['history'], around: Partial<CacheInput> = {}) => {
  const [decided] = decide(inputOf({ runtimes: [{ ...noRuntime, history }], ...around })).runtimes
  return [decided?.parked.count, decided?.created.count]
}

const idleOf = (given: Partial<RevisionInput>, around: Partial<CacheInput> = {}) =>
  decide(inputOf({ revisions: [revisionOf(given)], ...around })).revisions[0]?.idle

/** What a decision holds, by the costs of its input. */
const heldBy = (input: CacheInput, { revisions, runtimes }: CacheDecision) => {
  const ahead = [
    ...runtimes.map(
      ({ created, parked }) => created.count * costs.memoryMiB.created + parked.count * costs.memoryMiB.parked,
    ),
    ...revisions.map(
      ({ seed, parkedFork }) => seed.count * costs.memoryMiB.seed + parkedFork.count * costs.memoryMiB.parkedFork,
    ),
  ].reduce((sum, one) => sum + one, 0)
  const idle = revisions.reduce((sum, { idle: { count } }, at) => sum + count * (input.revisions[at]?.idleMiB ?? 0), 0)
  return { ahead, all: ahead + idle }
}

const history = fc
  .record({
    idleSince: fc.option(fc.integer({ min: now - 7_200_000, max: now }), { nil: undefined }),
    gapsMs: fc.array(fc.integer({ min: 0, max: 7_200_000 }), { maxLength: 64 }),
    overlaps: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 64 }),
  })
  .map(({ idleSince, ...rest }) => (idleSince === undefined ? rest : { idleSince, ...rest }))

const policy: fc.Arbitrary<InstancePolicy> = fc
  .record({
    concurrency: fc.integer({ min: 1, max: 20 }),
    reuse: fc.boolean(),
    keepAliveMs: fc.constantFrom(undefined, 0, 300, 3_600_000),
    cache: fc.constantFrom(undefined, 'strict-cold' as const),
  })
  .map(({ keepAliveMs, cache, ...rest }) => ({
    ...rest,
    ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
    ...(cache === undefined ? {} : { cache }),
  }))

const revision = fc
  .record({
    history,
    policy,
    initMs: fc.integer({ min: 0, max: 3000 }),
    idleMiB: fc.integer({ min: 1, max: 900 }),
    instances: fc.integer({ min: 0, max: 30 }),
    held: fc.record({ seed: fc.boolean(), parkedForks: fc.integer({ min: 0, max: 8 }) }),
    refused: fc.boolean(),
  })
  .map(({ refused, ...given }) => (refused ? revisionOf(given) : withoutRefusal(revisionOf(given))))

const size = fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined })
const fixed = fc.record({ created: size, parked: size, seeds: size, parkedForks: size }).map((sizes) => ({
  ...Object.fromEntries(Object.entries(sizes).filter(([, value]) => value !== undefined)),
  seedIdleMs: 60_000,
}))

const inputs: fc.Arbitrary<CacheInput> = fc
  .record({
    budgetMiB: fc.integer({ min: 0, max: 2000 }),
    roomMiB: fc.integer({ min: 0, max: 2000 }),
    fixed,
    runtimes: history.map((one) => [{ ...noRuntime, history: one }]),
    revisions: fc
      .array(revision, { maxLength: 12 })
      .map((all) => all.map((one, at) => ({ ...one, key: `t/f${at}/1/r` }))),
  })
  .map(inputOf)

describe('a decision', () => {
  it('is the same for the same input, also when that was written down and read again', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        expect(decide(JSON.parse(JSON.stringify(input)) as CacheInput)).toEqual(decide(input))
      }),
    )
  })

  it('never holds more than its budget beyond what is fixed, nor ahead of starts more than instances leave', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const decision = decide(input)
        const { ahead, all } = heldBy(input, decision)
        expect(decision.plannedMiB).toBeCloseTo(all, 6)
        expect(all).toBeLessThanOrEqual(Math.max(input.budgetMiB, decision.fixedMiB) + 1e-6)
        expect(ahead).toBeLessThanOrEqual(input.roomMiB + 1e-6)
      }),
      { numRuns: 1000 },
    )
  })

  it('respects what each function says', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        for (const [at, { idle, seed, parkedFork }] of decide(input).revisions.entries()) {
          const one = input.revisions[at]
          const { reuse, keepAliveMs, cache } = one?.policy ?? plain
          if (cache === 'strict-cold')
            expect([idle.count, idle.keepAliveMs, seed.count, parkedFork.count]).toEqual([0, 0, 0, 0])
          else if (!reuse) expect(idle.count).toBe(0)
          else if (keepAliveMs !== undefined) expect(idle.keepAliveMs).toBe(keepAliveMs)
          if (one?.forkRefused !== undefined) expect([seed.count, parkedFork.count]).toEqual([0, 0])
          if (seed.count === 0) expect(parkedFork.count).toBe(0)
          expect(idle.count).toBeLessThanOrEqual(one?.instances ?? 0)
        }
      }),
    )
  })

  it('is nothing at all in strict-cold', () => {
    fc.assert(
      fc.property(inputs, (input) => {
        const decision = decide({ ...input, mode: 'strict-cold' })
        expect([decision.plannedMiB, heldBy(input, decision).all]).toEqual([0, 0])
      }),
    )
  })
})

describe('idle instances', () => {
  it('outlive the idle times of a function that is called regularly', () => {
    for (const every of [500, 20_000, 150_000])
      expect(idleOf({ history: called(every) })?.keepAliveMs).toBeGreaterThan(every)
  })

  it('are not kept for a call each hour, which is not worth the memory until then', () => {
    expect(idleOf({ history: called(3_600_000) })?.keepAliveMs).toBeLessThan(30_000)
  })

  it('are kept for longer the longer a start takes', () => {
    const history = { idleSince: now, gapsMs: [5000, 30_000, 90_000, 300_000], overlaps: [1, 1, 1, 1] }
    const times = [0, 1000, 10_000].map((initMs) => idleOf({ history, initMs })?.keepAliveMs ?? 0)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    expect(times[2]).toBeGreaterThan(times[0] ?? 0)
  })

  it('give way to those that save more for the same memory', () => {
    const revisions = [60_000, 5000, 20_000].map((every, at) =>
      revisionOf({ key: `t/f${at}/1/r`, history: called(every) }),
    )
    const decision = decide(inputOf({ revisions, budgetMiB: 100 }))
    expect(decision.revisions.map(({ idle }) => idle.count)).toEqual([0, 1, 1])
    expect(decision.revisions[0]?.idle.reason).toContain('others are worth more')
    expect(decision.price).toBeGreaterThan(0.01)
  })

  it('are as many as were needed at the same time', () => {
    const overlaps = Array.from({ length: 30 }, (_, at) => (at % 3) + 1)
    expect(idleOf({ history: { ...called(5000), overlaps }, instances: 10 })?.count).toBe(3)
    expect(idleOf({ history: called(5000), instances: 10 })?.count).toBe(1)
  })
})

describe('seeds and parked forks', () => {
  it('are held for a function whose instances are not used again and that is called often', () => {
    expect(forksOf({ history: called(3000) })).toEqual([1, 1])
  })

  it('go when it is called no more', () => {
    expect(
      forksOf({ history: { ...called(3000), idleSince: now - 600_000 }, held: { seed: true, parkedForks: 1 } }),
    ).toEqual([0, 0])
  })

  it('are made again before a call that comes by the clock', () => {
    const after = [60_000, 570_000].map((idleMs) =>
      forksOf({ history: { ...called(600_000), idleSince: now - idleMs } }),
    )
    expect(after).toEqual([
      [0, 0],
      [1, 1],
    ])
  })

  it('follow the configuration where it has numbers', () => {
    const around = { fixed: { seeds: 1, parkedForks: 3, seedIdleMs: 60_000 } }
    expect(forksOf({ history: { ...called(600_000), idleSince: now - 50_000 } }, around)).toEqual([1, 3])
    expect(forksOf({ history: { ...called(600_000), idleSince: now - 70_000 } }, around)).toEqual([0, 0])
  })
})

describe('what runtimes hold', () => {
  it('is nothing where nothing is started, and as much as bursts need where much is', () => {
    expect(aheadOf({ idleSince: now - 3_600_000, gapsMs: [], overlaps: [] })).toEqual([0, 0])
    const [parked = 0, created = 0] = aheadOf({
      ...called(4000),
      overlaps: Array.from({ length: 40 }, (_, at) => (at % 4) + 1),
    })
    expect(parked).toBeGreaterThan(0)
    expect(parked + created).toBe(4)
  })

  it('gives way to instances that need the memory', () => {
    expect(aheadOf(called(4000), { roomMiB: 20 })).toEqual([0, 1])
    expect(aheadOf(called(4000), { roomMiB: 10 })).toEqual([0, 0])
  })

  it('follows the configuration where it has numbers, as far as there is room', () => {
    const fixed = { created: 2, parked: 1, seedIdleMs: 1 }
    expect(aheadOf({ idleSince: now - 3_600_000, gapsMs: [], overlaps: [] }, { fixed })).toEqual([1, 2])
    expect(aheadOf(called(10), { fixed, roomMiB: 62 })).toEqual([1, 1])
  })
})
