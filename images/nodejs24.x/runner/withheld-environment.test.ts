import { env as named } from 'node:process'
import { afterEach, expect, test } from 'vitest'
import { withholdEnvironment, type WithheldEnvironment } from './withheld-environment.ts'

const real = process.env
let withheld: WithheldEnvironment
afterEach(() => {
  withheld.restore({})
  process.env = real
  delete real['PLANTED']
})
const begin = (): WithheldEnvironment => (withheld = withholdEnvironment(['PLANTED', 'OTHER']))

test('listing names, and asking whether one is there, is no reading', () => {
  begin()
  expect(Object.keys(process.env)).toContain('PLANTED')
  expect('PLANTED' in process.env).toBe(true)
  for (const name in process.env) if (name.startsWith('NOTHING')) throw new Error(name)
  expect([...withheld.read]).toEqual([])
})

test.each<[string, () => unknown]>([
  ['by its name', () => process.env['PLANTED']],
  ['with all others', () => ({ ...process.env })['PLANTED']],
  ['in pieces', () => Object.entries(process.env)],
  ['through an import', () => named['PLANTED']],
])('reading one %s is noticed', (_, read) => {
  begin()
  read()
  expect(withheld.read.has('PLANTED')).toBe(true)
})

test('what the function set or removed itself is its own, and stays', () => {
  begin()
  process.env['PLANTED'] = 'mine'
  delete process.env['OTHER']
  expect(process.env['PLANTED']).toBe('mine')
  expect(withheld.read.size).toBe(0)
  withheld.restore({ PLANTED: 'given', OTHER: 'given' })
  expect([process.env['PLANTED'], process.env['OTHER']]).toEqual(['mine', undefined])
})

test('after the restore everything is there, also for who kept the watched one', () => {
  begin()
  const kept = process.env
  withheld.restore({ PLANTED: 'given' })
  expect([process.env['PLANTED'], kept['PLANTED'], named['PLANTED']]).toEqual(['given', 'given', 'given'])
  expect(process.env).toBe(real)
})
