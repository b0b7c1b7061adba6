import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ReplayError, Serials } from './serials.ts'

const logger = pino({ level: 'silent' })
let dir: string
const path = () => join(dir, 'serials.json')
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'serials-'))))
afterEach(() => rmSync(dir, { recursive: true }))

it('takes what is as new as what it knows or newer, and nothing older', () => {
  const serials = new Serials(path(), logger)
  for (const serial of [5, 5, 9]) serials.accept('t.f', serial)
  expect(() => serials.accept('t.f', 8)).toThrow(ReplayError)
  serials.accept('t.f', 9)
  serials.accept('t.g', 1)
})

it('knows it after a restart, closed or killed', async () => {
  const killed = new Serials(path(), logger)
  killed.accept('t.f', 7)
  await vi.waitFor(() => expect(readFileSync(path(), 'utf8')).toContain('7'))
  expect(() => new Serials(path(), logger).accept('t.f', 6)).toThrow(ReplayError)
  const closed = new Serials(path(), logger)
  closed.accept('t.f', 8)
  closed.close()
  expect(() => new Serials(path(), logger).accept('t.f', 7)).toThrow(ReplayError)
})

it('begins anew with a damaged file', () => {
  writeFileSync(path(), '{"t.f":')
  new Serials(path(), logger).accept('t.f', 1)
})
