/** Stopwatch of a start: named phases, some of them at the same time. */
import type { Phase } from '../../contracts/usage.ts'

export class Stopwatch {
  /** `performance.now()` of the start. */
  readonly startedAt = performance.now()
  readonly phases: Phase[] = []

  async time<T>(name: string, work: () => Promise<T>): Promise<T> {
    const from = performance.now()
    try {
      return await work()
    } finally {
      this.phases.push({ name, startMs: from - this.startedAt, durationMs: performance.now() - from })
    }
  }
}
