import { expect, test } from 'vitest'
import { leaksOf, type SoakRow } from '../bench/plateau.ts'

const rows = (name: string, ...values: number[]): SoakRow[] =>
  values.map((value, index) => ({ starts: index * 1000, [name]: value }))

test('what grew while it warmed up and stays is no leak', () => {
  expect(leaksOf(rows('agent fds', 20, 40, 41, 40, 43))).toEqual([])
  expect(leaksOf(rows('agent MiB', 90, 150, 170, 210, 200))).toEqual([])
})

test('a count that goes on growing is one, however slowly, over enough starts', () => {
  expect(leaksOf(rows('mounts', 2, 4, 6, 8, 10))).toEqual(['mounts: 10 at the end, 4 after the warm-up'])
  expect(leaksOf(rows('processes', 9, 9, 9, 9, 9, 9, 9, 9, 14))).toHaveLength(1)
})

test('memory that goes on growing is one', () => {
  expect(leaksOf(rows('node-agent MiB', 90, 150, 190, 230, 270))).toHaveLength(1)
})

test('a single leftover is one', () => {
  expect(leaksOf(rows('leftovers', 0, 0, 0, 0, 1))).toHaveLength(1)
})
