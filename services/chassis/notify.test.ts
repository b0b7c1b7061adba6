import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createLogger } from './log.ts'
import { notifySupervisor } from './notify.ts'

const logger = createLogger('test', 'silent')
const said: string[] = []
const notify = async (state: string) => void said.push(state)

beforeEach(() => {
  said.length = 0
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('nothing is said to a supervisor that did not ask', async () => {
  await notifySupervisor(logger, { WATCHDOG_USEC: '30000000' }, notify)
  vi.advanceTimersByTime(100_000)
  expect(said).toEqual([])
})

it('readiness once, without a watchdog', async () => {
  await notifySupervisor(logger, { NOTIFY_SOCKET: '/x' }, notify)
  vi.advanceTimersByTime(100_000)
  expect(said).toEqual(['READY=1'])
})

it('life, three times in the time that the watchdog gives, until it is ended', async () => {
  const end = await notifySupervisor(logger, { NOTIFY_SOCKET: '/x', WATCHDOG_USEC: '30000000' }, notify)
  vi.advanceTimersByTime(30_000)
  expect(said).toEqual(['READY=1', 'WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1'])
  end()
  vi.advanceTimersByTime(30_000)
  expect(said).toHaveLength(4)
})

it('a supervisor that cannot be told is no reason to end', async () => {
  await expect(
    notifySupervisor(logger, { NOTIFY_SOCKET: '/x' }, () => Promise.reject(new Error('no'))),
  ).resolves.toBeTypeOf('function')
})
