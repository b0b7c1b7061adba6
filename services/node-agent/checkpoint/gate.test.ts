import { expect, test } from 'vitest'
import { findCollisions } from './gate.ts'
import { cpuFeatures } from './key.ts'

test('clones that differ in everything pass', () => {
  const probes = [
    { randomUUID: 'a', mathRandom: 0.1, timeOriginError: 1 },
    { randomUUID: 'b', mathRandom: 0.2, timeOriginError: 1 },
  ]
  expect(findCollisions(probes)).toEqual([])
})

test('an equal value, a missing value and a wrong clock are named', () => {
  const probes = [
    { randomUUID: 'a', mathRandom: 0.1, timeOriginError: 9000 },
    { randomUUID: 'a', timeOriginError: 1 },
  ]
  expect(findCollisions(probes).map((problem) => problem.split(':')[0])).toEqual([
    'randomUUID',
    'mathRandom',
    'the clock is off by 9000, 1 ms',
  ])
})

const cpuinfo = (flags: string) =>
  `processor\t: 0\nvendor_id\t: V\ncpu family\t: 6\nmodel\t\t: 1\nflags\t\t: ${flags}\n`

test('CPU features do not depend on the order in which the kernel lists them, but on each of them', () => {
  expect(cpuFeatures(cpuinfo('avx sse'))).toBe(cpuFeatures(cpuinfo('sse avx')))
  expect(cpuFeatures(cpuinfo('avx sse'))).not.toBe(cpuFeatures(cpuinfo('sse')))
})
