import { expect, it } from 'vitest'
import {
  differences,
  fromStruct,
  holdsUnknown,
  secret,
  toStruct,
  unknownValue,
  withoutSecrets,
} from './property-values.ts'

it('differences are told entry by entry', () => {
  const before = { memory: 128, files: { 'index.mjs': 'a', old: 'b' }, tags: {} }
  const after = { memory: 256, files: { 'index.mjs': 'c' }, tags: {}, fork: true }
  expect(differences(before, after)).toEqual([
    { path: 'memory', kind: 'update' },
    { path: 'files["index.mjs"]', kind: 'update' },
    { path: 'files.old', kind: 'delete' },
    { path: 'fork', kind: 'add' },
  ])
  expect(differences(after, structuredClone(after))).toEqual([])
})

it('unknown values are found, and secrets taken off, at any depth', () => {
  expect(holdsUnknown({ environment: { A: ['x', unknownValue] } })).toBe(true)
  expect(holdsUnknown({ environment: { A: ['x'] } })).toBe(false)
  expect(withoutSecrets({ a: [secret({ b: secret('c') })] })).toEqual({ a: [{ b: 'c' }] })
})

it('a struct has no undefined values', () => {
  expect(fromStruct(toStruct({ a: undefined, b: { c: [1, true, 'x'] } }))).toEqual({ b: { c: [1, true, 'x'] } })
})
