import { expect, test } from 'vitest'
import { removable } from './removable.ts'
import type { StoredCheckpoint } from './version-store.ts'

const stored = (key: string, usedAt: number, bytes = 10): StoredCheckpoint => ({
  key,
  usedAt,
  bytes,
  directory: `/c/${key}`,
  initMs: 1,
  revision: { tenant: 't', name: key, version: '1', revisionId: 'r' },
})
const decide = (all: StoredCheckpoint[], current: string[], bytes = 1000, unusedMs = 1000) =>
  removable(all, new Set(current), { bytes, unusedMs }, 2000).map(({ checkpoint, reason }) => [checkpoint.key, reason])

test('what is current, in use and within the budget is kept', () => {
  expect(decide([stored('a', 1500), stored('b', 1900)], ['a', 'b'])).toEqual([])
})

test('what was replaced or not used for long goes', () => {
  expect(decide([stored('a', 1900), stored('b', 500)], ['b'])).toEqual([
    ['a', 'replaced'],
    ['b', 'unused'],
  ])
})

test('over the budget, what was used longest ago goes first; what goes anyway needs no room', () => {
  const all = [stored('old', 1100), stored('mid', 1500), stored('new', 1900), stored('gone', 1950, 500)]
  expect(decide(all, ['old', 'mid', 'new'], 25)).toEqual([
    ['gone', 'replaced'],
    ['old', 'room'],
  ])
})

test('one that does not fit does not push out smaller ones that were used less', () => {
  expect(decide([stored('huge', 1900, 100), stored('small', 1500)], ['huge', 'small'], 50)).toEqual([['huge', 'room']])
})
