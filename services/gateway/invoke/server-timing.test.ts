import { expect, it } from 'vitest'
import { parseServerTiming } from '../../cli/waterfall.ts'
import { reportOf } from '../testing/fake-node.ts'
import { serverTiming } from './server-timing.ts'

const phases = { receivedAt: 100, authMs: 1.234, placeMs: 3, sentAt: 110 }

it('is the waterfall from the request’s arrival on, as the CLI reads it', () => {
  expect(parseServerTiming(serverTiming(phases, reportOf('id')))).toEqual([
    { name: 'auth', durationMs: 1.23, startMs: 0, description: '@0' },
    { name: 'place', durationMs: 3, startMs: 7, description: '@7' },
    { name: 'queue', durationMs: 2, startMs: 10, description: '@10' },
    { name: 'handler', durationMs: 5, startMs: 12, description: '@12' },
    { name: 'start', durationMs: undefined, startMs: undefined, description: 'restore' },
  ])
})

it('has the time in the scheduler’s queue as a phase of its own', () => {
  expect(serverTiming({ ...phases, placeMs: 8, waitedMs: 6 })).toBe(
    'auth;dur=1.23;desc="@0", place;dur=2;desc="@2", wait;dur=6;desc="@4"',
  )
})

it('tells what is known before the report is there', () => {
  expect(serverTiming(phases)).toBe('auth;dur=1.23;desc="@0", place;dur=3;desc="@7"')
  expect(serverTiming({ receivedAt: 0, authMs: 0 })).toBe('auth;dur=0;desc="@0"')
})

it('is a valid header whatever a phase is called', () => {
  const report = reportOf('id', { phases: [{ name: 'a"\r\nx: y, b;', startMs: -1, durationMs: -5 }] })
  expect(serverTiming(phases, report)).toContain('a---x--y--b-;dur=0;desc="@9"')
})
