/** Forks of one seed that wait at their sockets for a request; some may still be on their way there. */
import type { Logger } from '../../chassis/log.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import type { Fork, Seed } from './seed.ts'

export interface ParkedDeps {
  /** CPU time that one took to make, milliseconds. */
  readonly spent: (config: VersionConfig, level: 'parkedFork', cpuMs: number) => void
  /** There are more or fewer of them. */
  readonly onChange: () => void
  readonly logger: Logger
  readonly metrics: Pick<SchedulerMetrics, 'evictions'>
}

export class ParkedForks {
  readonly #deps: ParkedDeps
  readonly #waiting = new Set<Promise<Fork>>()

  constructor(deps: ParkedDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.#waiting.size
  }

  /** The one that has waited longest; the caller owns it. */
  async take(): Promise<Fork | undefined> {
    for (const waiting of this.#waiting) {
      this.#waiting.delete(waiting)
      const fork = await waiting.catch(() => undefined)
      if (!fork) continue
      fork.seed.taken(fork)
      this.#deps.onChange()
      return fork
    }
    return undefined
  }

  /** Forks the seed until `count` wait, or it can be forked no more. */
  fill(seed: Seed, count: number): void {
    while (seed.retired === undefined && !seed.isFull && this.#waiting.size < count) {
      const made = this.#park(seed)
      this.#waiting.add(made)
      void this.#follow(made, seed.id)
    }
    this.#deps.onChange()
  }

  /** Ends what is more than `count`. Resolves when nothing of it is left. */
  async keep(count: number, reason: 'idle' | 'memory'): Promise<void> {
    await Promise.all([...this.#waiting].slice(count).map((waiting) => this.#end(waiting, reason)))
  }

  /** Resolves when none is on its way any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#waiting)
  }

  /** They are their seed's to end from now on. */
  clear(): void {
    this.#waiting.clear()
  }

  async #end(waiting: Promise<Fork>, reason: 'idle' | 'memory'): Promise<void> {
    this.#waiting.delete(waiting)
    this.#deps.metrics.evictions.inc({ level: 'parkedFork', reason })
    this.#deps.onChange()
    await waiting.then(
      ({ sandbox }) => sandbox.end({ reason: 'killed', detail: `not held any more: ${reason}` }),
      () => undefined,
    )
  }

  /** Waits at its socket when this resolves. */
  async #park(seed: Seed): Promise<Fork> {
    const [forks, cpuMs] = [seed.forks + 1, seed.cpuMs()]
    const fork = await seed.fork(true)
    await Promise.race([fork.endpoint.pulled, fork.sandbox.exited])
    // Otherwise it was not the only one that took CPU.
    if (seed.forks === forks && seed.serving === 0) this.#deps.spent(seed.config, 'parkedFork', seed.cpuMs() - cpuMs)
    return fork
  }

  async #follow(made: Promise<Fork>, seedId: string): Promise<void> {
    try {
      const { sandbox } = await made
      await sandbox.exited
    } catch (err) {
      this.#deps.logger.warn({ err, seedId }, 'a fork could not be parked')
    }
    this.#waiting.delete(made)
    this.#deps.onChange()
  }
}
