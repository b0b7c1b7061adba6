/**
 * Reads of what NATS keeps, by whoever cannot go on without the answer. When a server is lost, its streams have no leader for some seconds, and a
 * question that it took along is never answered: neither is a reason to fail what waits for it.
 *
 *   const entry = await readAgain('the registry', () => kv.get(key))
 */
import { PlatformError } from '../contracts/errors.ts'

/** The client gives a question up after 5 s. */
const patienceMs = 10_000
const pauseMs = 250

/**
 * @param what for the message
 * @param read has no effect but its answer; what it throws of the platform's own is final
 * @throws PlatformError UNAVAILABLE, after `patienceMs` without an answer
 */
export const readAgain = async <T>(what: string, read: () => Promise<T>): Promise<T> => {
  const giveUpAt = Date.now() + patienceMs
  for (;;) {
    try {
      return await read()
    } catch (cause) {
      if (cause instanceof PlatformError) throw cause
      if (Date.now() + pauseMs > giveUpAt)
        throw new PlatformError('UNAVAILABLE', `${what} cannot be read`, undefined, { cause })
    }
    await new Promise((resolve) => void setTimeout(resolve, pauseMs))
  }
}
