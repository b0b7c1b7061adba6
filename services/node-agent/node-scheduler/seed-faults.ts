/** Revisions of which no seed could be made: for good, as their own code has it, or just now. The oldest are forgotten. */

/** What the function left open at its initialisation. The message begins with its kind. */
export class UnfitError extends Error {
  override readonly name = 'UnfitError'
}

/** After a failure; making one again at once would most likely fail again. */
const retryMs = 5_000
/** Of each kind. */
const mostKept = 1000

const remember = <T>(known: Map<string, T>, key: string, value: T): void => {
  known.delete(key)
  known.set(key, value)
  const [oldest] = known.keys()
  if (known.size > mostKept && oldest !== undefined) known.delete(oldest)
}

export class SeedFaults {
  readonly #unfit = new Map<string, string>()
  readonly #failedAt = new Map<string, number>()

  /** What its initialisation leaves open, if it is known to. */
  unfit(revision: string): string | undefined {
    return this.#unfit.get(revision)
  }

  failedLately(revision: string): boolean {
    return performance.now() - (this.#failedAt.get(revision) ?? Number.NEGATIVE_INFINITY) < retryMs
  }

  note(revision: string, error: unknown): void {
    if (error instanceof UnfitError) remember(this.#unfit, revision, error.message)
    else remember(this.#failedAt, revision, performance.now())
  }
}
