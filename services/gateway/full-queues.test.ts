import { describe, expect, it } from 'vitest'
import { PlatformError } from '../contracts/errors.ts'
import { FullQueues } from './full-queues.ts'

const refusal = (limit: string) =>
  new PlatformError('TOO_MANY_REQUESTS', `too many placements wait: ${limit}`, { limit })

describe('a full queue', () => {
  it('is left alone for a moment; the others are not', () => {
    let now = 1_000
    const queues = new FullQueues(() => now)
    const error = refusal('perFunction')
    queues.refused('a', error)
    expect(() => queues.pass('a')).toThrow(error)
    queues.pass('b')
    now += 99
    expect(() => queues.pass('a')).toThrow(error)
    now += 1
    queues.pass('a')
  })

  it.each([
    ['another limit', refusal('reservedConcurrency')],
    ['another code', new PlatformError('NO_CAPACITY', 'no capacity', { limit: 'perFunction' })],
  ])('is not told by %s', (_, error) => {
    const queues = new FullQueues()
    queues.refused('a', error)
    queues.pass('a')
  })
})
