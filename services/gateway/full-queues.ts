/**
 * Revisions for which as many requests wait as may. The scheduler is not asked for another place for a moment: a refusal costs it nearly what a
 * placement does, and there are most of them when it has no time.
 */
import type { PlatformError } from '../contracts/errors.ts'

/** In milliseconds. What becomes free in that time is for those who wait. */
const restMs = 100
/** Then all are forgotten. */
const mostKept = 10_000

interface Full {
  readonly until: number
  readonly error: PlatformError
}

export class FullQueues {
  readonly #full = new Map<string, Full>()
  readonly #now: () => number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** @param key of the revision. @throws PlatformError TOO_MANY_REQUESTS: the scheduler's own, of a moment ago */
  pass(key: string): void {
    const full = this.#full.get(key)
    if (!full) return
    if (this.#now() < full.until) throw full.error
    this.#full.delete(key)
  }

  /** The scheduler refused a request of the revision. */
  refused(key: string, error: PlatformError): void {
    if (error.code !== 'TOO_MANY_REQUESTS' || error.details?.['limit'] !== 'perFunction') return
    if (this.#full.size >= mostKept) this.#full.clear()
    this.#full.set(key, { until: this.#now() + restMs, error })
  }
}
