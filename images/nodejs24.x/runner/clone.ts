/**
 * What must differ between the clones of one checkpoint, and between two starts in general. docs/decisions/0024 lists where each
 * piece of state sits. Everything here happens before any code of a function is loaded.
 */
import { randomInt, randomUUID } from 'node:crypto'
import { reseedMathRandom } from './math-random.ts'
import { reseed } from './native.ts'

/** Node.js generates this many UUIDs ahead, and this many numbers for `randomInt`. */
const cachedUuids = 128
const cachedInts = 1024

export const makeUnique = (entropy: Buffer): void => {
  reseed(entropy)
  // Used up, a cache is filled from the reseeded generator.
  for (let index = 0; index < cachedUuids; index++) randomUUID()
  for (let index = 0; index < cachedInts; index++) randomInt(2)
  reseedMathRandom()
  resetTimeOrigin()
}

/** The process began when it was cloned, not when its checkpoint was made: `timeOrigin + now()` is the time of day. */
const resetTimeOrigin = (): void => {
  const timeOrigin = Date.now() - performance.now()
  Object.defineProperty(performance, 'timeOrigin', { value: timeOrigin, configurable: true, enumerable: true })
}
