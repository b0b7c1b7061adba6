import { describe, expect, it } from 'vitest'
import type { StartWish } from '../../contracts/placement.ts'
import { chooseStart, type ForkFacts, type StartFacts } from './choose-start.ts'

const none = { created: 0, parked: 0 }
const noFork = { parked: 0, hasSeed: false }
const facts: StartFacts = {
  fork: noFork,
  wish: 'auto',
  hasCheckpoint: true,
  prepared: none,
  ephemeralStorageMiB: 512,
  version: { ready: false, initMs: 0, bytes: 0 },
  copiesCode: true,
}

describe('chooseStart', () => {
  it('restores when a checkpoint is here', () => {
    expect(chooseStart(facts)).toEqual({
      way: 'restore',
      checkpoint: 'runtime',
      reason: expect.stringContaining('checkpoint'),
    })
  })

  it.each<[StartWish, number, number, 'parked' | 'created' | undefined]>([
    ['auto', 1, 1, 'parked'],
    ['auto', 1, 0, 'created'],
    ['restore-parked', 1, 1, 'parked'],
    ['restore-parked', 1, 0, 'created'],
    ['restore-precreated', 1, 1, 'created'],
    ['restore-precreated', 0, 1, undefined],
    ['restore', 1, 1, undefined],
  ])('for %s with %i created and %i parked uses %s', (wish, created, parked, use) => {
    const choice = chooseStart({ ...facts, wish, prepared: { created, parked } })
    expect([choice.way, 'use' in choice ? choice.use : undefined]).toEqual(['restore', use])
  })

  it.each<[StartWish, ForkFacts, unknown]>([
    ['auto', { parked: 1, hasSeed: true }, { way: 'fork', parked: true }],
    ['auto', { parked: 0, hasSeed: true }, { way: 'fork', parked: false }],
    ['auto', noFork, { way: 'restore' }],
    ['auto', { parked: 0, hasSeed: true, refused: 'full' }, { way: 'restore' }],
    ['auto', { parked: 1, hasSeed: true, refused: 'full' }, { way: 'fork', parked: true }],
    ['fork', { parked: 1, hasSeed: true }, { way: 'fork', parked: false }],
    ['fork', noFork, { way: 'fork', parked: false }],
    ['fork-parked', { parked: 1, hasSeed: true }, { way: 'fork', parked: true }],
    ['fork-parked', noFork, { way: 'fork', parked: false }],
    [
      'fork',
      { ...noFork, refused: 'a timer' },
      { way: 'restore', reason: expect.stringContaining('no fork: a timer') },
    ],
    ['restore', { parked: 1, hasSeed: true }, { way: 'restore' }],
    ['restore-parked', { parked: 1, hasSeed: true }, { way: 'restore' }],
    ['boot', { parked: 1, hasSeed: true }, { way: 'boot' }],
  ])('for %s with %o chooses %o', (wish, fork, choice) => {
    expect(chooseStart({ ...facts, wish, fork })).toMatchObject(choice as object)
  })

  it.each<[StartWish, number, number, number, unknown]>([
    ['auto', 0, 0, 100, { checkpoint: 'version' }],
    ['auto', 1, 0, 5, { checkpoint: 'version', use: 'created' }],
    ['auto', 1, 1, 5, { checkpoint: 'runtime', use: 'parked' }],
    ['auto', 1, 1, 100, { checkpoint: 'version', use: 'created' }],
    ['restore', 1, 1, 5, { checkpoint: 'version' }],
    ['restore-precreated', 1, 1, 5, { checkpoint: 'version', use: 'created' }],
    ['restore-parked', 1, 1, 100, { checkpoint: 'runtime', use: 'parked' }],
    ['restore-parked', 1, 0, 100, { checkpoint: 'version', use: 'created' }],
  ])(
    'for %s with %i created, %i parked and an init of %i ms saved takes %o',
    (wish, created, parked, initMs, choice) => {
      const version = { ready: true, initMs, bytes: 1 }
      const made = chooseStart({ ...facts, wish, prepared: { created, parked }, version })
      expect({ use: undefined, ...made }).toMatchObject({ way: 'restore', use: undefined, ...(choice as object) })
    },
  )

  it('creates a sandbox for a version whose code or /tmp is another than what waits has', () => {
    const ready = { ...facts, prepared: { created: 1, parked: 1 }, version: { ready: true, initMs: 100, bytes: 1 } }
    for (const one of [
      { ...ready, copiesCode: false },
      { ...ready, ephemeralStorageMiB: 1024 },
    ]) {
      const choice = chooseStart(one)
      expect(choice).toMatchObject({ way: 'restore', checkpoint: 'version' })
      expect(choice).not.toHaveProperty('use')
    }
  })

  it('boots without a checkpoint, whatever is asked for', () => {
    expect(chooseStart({ ...facts, hasCheckpoint: false, wish: 'restore' }).way).toBe('boot')
  })

  it('boots when /tmp has another size than in the checkpoint, and says so', () => {
    const choice = chooseStart({ ...facts, prepared: { created: 1, parked: 1 }, ephemeralStorageMiB: 1024 })
    expect(choice).toEqual({ way: 'boot', reason: expect.stringContaining('1024') })
  })

  it('boots when a boot is asked for', () => {
    expect(chooseStart({ ...facts, wish: 'boot', prepared: { created: 3, parked: 3 } }).way).toBe('boot')
  })
})
