/** Whether a start has a caller waiting: what costs CPU in the background begins when none has. */
export class Quiet {
  #busy = 0
  #waiting: (() => void)[] = []

  /** @returns ends it; only the first call counts. */
  begin(): () => void {
    this.#busy++
    let over = false
    return () => {
      if (over) return
      over = true
      if (--this.#busy === 0) for (const resolve of this.#waiting.splice(0)) resolve()
    }
  }

  /** Resolves when no start is under way. @throws the signal's reason when it is aborted first. */
  async reached(signal?: AbortSignal): Promise<void> {
    const given = signal && new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    while (this.#busy > 0) {
      const quiet = new Promise<void>((resolve) => this.#waiting.push(resolve))
      await Promise.race(given ? [quiet, given] : [quiet])
      signal?.throwIfAborted()
    }
    signal?.throwIfAborted()
  }
}
