/**
 * What must differ between the clones of one checkpoint, and between two starts in general. docs/decisions/0024 lists where each
 * piece of state sits. `makeUnique` comes before any code of a function runs in the clone; `emptyCaches` before the process is copied.
 */
import crypto from 'node:crypto'
import { reseedMathRandom } from './math-random.ts'
import { draws, reseed, watchDraws } from './native.ts'

/** Node.js's own, whatever a function puts in their place. */
const { randomInt, randomUUID } = crypto

/** Node.js generates this many UUIDs ahead, and this many numbers for `randomInt`. */
const cachedUuids = 128
const cachedInts = 1024

export const makeUnique = (entropy: Buffer): void => {
  reseed(entropy)
  reseedMathRandom()
  resetTimeOrigin()
}

/**
 * Leaves nothing in Node.js's caches of what was generated ahead: they are filled anew by whoever asks next, which is a clone, from its
 * reseeded generator.
 */
export const emptyCaches = (): void => {
  watchDraws(true)
  try {
    useUp(() => randomUUID(), cachedUuids)
    useUp(() => randomInt(2), cachedInts)
  } finally {
    watchDraws(false)
  }
}

/** Other threads draw too, for what a function began and did not wait for. */
const attempts = 20

const useUp = (draw: () => void, size: number): void => {
  for (let attempt = 0; attempt < attempts; attempt++) if (usedUp(draw, size)) return
  throw new Error(`this Node.js does not generate ${size} ahead`)
}

/**
 * The draw that fills the cache is seen at the generator; the rest of that filling is used up. False: somebody else drew meanwhile, so that
 * what was seen may have been that.
 */
const usedUp = (draw: () => void, size: number): boolean => {
  const before = draws()
  for (let left = size; draws() === before; left--) {
    if (left < 0) return false
    draw()
  }
  for (let left = size - 1; left > 0; left--) draw()
  return draws() === before + 1
}

/** The process began when it was cloned, not when its checkpoint was made: `timeOrigin + now()` is the time of day. */
const resetTimeOrigin = (): void => {
  const timeOrigin = Date.now() - performance.now()
  Object.defineProperty(performance, 'timeOrigin', { value: timeOrigin, configurable: true, enumerable: true })
}
