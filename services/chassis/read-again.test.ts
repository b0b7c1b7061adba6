import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PlatformError } from '../contracts/errors.ts'
import { readAgain } from './read-again.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Answers after so many failures. */
const answeringAfter = (failures: number, error = new Error('no responders')) => {
  let asked = 0
  return vi.fn(async () => {
    if (asked++ < failures) throw error
    return 'entry'
  })
}

describe('a read while NATS has no answer', () => {
  it('is done again until there is one', async () => {
    const read = answeringAfter(3)
    const found = readAgain('the registry', read)
    await vi.runAllTimersAsync()
    expect(await found).toBe('entry')
    expect(read).toHaveBeenCalledTimes(4)
  })

  it('fails as unavailable when there is none for long, with the reason as its cause', async () => {
    const found = readAgain('the registry', answeringAfter(Infinity)).catch((error: unknown) => error)
    await vi.runAllTimersAsync()
    expect(await found).toMatchObject({
      code: 'UNAVAILABLE',
      message: 'the registry cannot be read',
      cause: { message: 'no responders' },
    })
  })

  it('is not done again after an answer that is an error', async () => {
    const read = answeringAfter(1, new PlatformError('CODE_CORRUPT', 'not that'))
    await expect(readAgain('the code', read)).rejects.toMatchObject({ code: 'CODE_CORRUPT' })
    expect(read).toHaveBeenCalledTimes(1)
  })
})
