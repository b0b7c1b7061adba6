/** Keeps schedulers out that others have replaced: whoever leads has a term, and later leaders have higher ones. */
import { PlatformError } from '../../contracts/errors.ts'

export class TermFence {
  #latest = 0

  get latest(): number {
    return this.#latest
  }

  /** @throws PlatformError STALE_TERM when a later one is known */
  check(term: number): void {
    if (term < this.#latest)
      throw new PlatformError('STALE_TERM', 'another scheduler leads by now', { term, latest: this.#latest })
    this.#latest = term
  }

  /** Somebody told of it. */
  heardOf(term: number): void {
    this.#latest = Math.max(this.#latest, term)
  }
}
