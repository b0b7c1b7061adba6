import type { NatsConnection } from '@nats-io/transport-node'
import { pino } from 'pino'
import { expect, it, vi } from 'vitest'
import { whenReady } from './nats.ts'

/** Half a second between attempts is nothing here. */
vi.mock('node:timers/promises', () => ({ setTimeout: async () => undefined }))

const connection = (closed = false) => ({ isClosed: () => closed }) as unknown as NatsConnection

/** Lines of the log, and the logger that writes them. */
const recorder = () => {
  const lines: string[] = []
  return { lines, logger: pino({}, { write: (line: string) => void lines.push(line) }) }
}

it('a store that is not there is waited for, and said to be missing at once and each half minute', async () => {
  const { lines, logger } = recorder()
  let tries = 0
  const opened = whenReady(connection(), logger, async () => {
    if (tries++ < 61) throw new Error('no bucket')
    return 'open'
  })
  await expect(opened).resolves.toBe('open')
  expect(lines).toHaveLength(2)
  expect(lines[0]).toContain('no bucket')
})

it('over a connection that was closed it is not waited for', async () => {
  const { lines, logger } = recorder()
  const opened = whenReady(connection(true), logger, () => Promise.reject(new Error('no bucket')))
  await expect(opened).rejects.toThrow('no bucket')
  expect(lines).toEqual([])
})
