import { describe, expect, it } from 'vitest'
import { chooseStart, type StartFacts } from './choose-start.ts'

const facts: StartFacts = { wish: 'auto', hasCheckpoint: true, precreated: 0, ephemeralStorageMiB: 512 }

describe('chooseStart', () => {
  it('restores when a checkpoint is here', () => {
    expect(chooseStart(facts)).toMatchObject({ way: 'restore', usePrecreated: false })
  })

  it('takes a created sandbox when one waits', () => {
    expect(chooseStart({ ...facts, precreated: 1 })).toMatchObject({ way: 'restore', usePrecreated: true })
  })

  it('makes a sandbox of its own when a plain restore is asked for, also when a created one waits', () => {
    expect(chooseStart({ ...facts, precreated: 1, wish: 'restore' })).toMatchObject({ usePrecreated: false })
  })

  it('boots without a checkpoint, whatever is asked for', () => {
    expect(chooseStart({ ...facts, hasCheckpoint: false, wish: 'restore' }).way).toBe('boot')
  })

  it('boots when /tmp has another size than in the checkpoint, and says so', () => {
    const choice = chooseStart({ ...facts, ephemeralStorageMiB: 1024 })
    expect(choice.way).toBe('boot')
    expect(choice.reason).toContain('1024')
  })

  it('boots when a boot is asked for', () => {
    expect(chooseStart({ ...facts, wish: 'boot', precreated: 3 }).way).toBe('boot')
  })
})
