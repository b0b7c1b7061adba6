/** Fetches code images before somebody needs them: one at a time, while no start has a caller waiting, only where there is room. */
import type { Logger } from '../../chassis/log.ts'
import type { RevisionRef } from '../../contracts/placement.ts'
import type { CodeImageMetrics } from './code-image-metrics.ts'
import type { CodeImages } from './code-images.ts'

export interface PrefetcherDeps {
  readonly images: Pick<CodeImages, 'prefetch'>
  /** Resolves when no start is under way. @throws when the signal is aborted first */
  readonly quiet: (signal: AbortSignal) => Promise<void>
  readonly metrics: Pick<CodeImageMetrics, 'prefetches'>
  readonly logger: Logger
}

interface Wanted {
  readonly digest: string
  readonly revision: RevisionRef | undefined
  /** `performance.now()` from which on it is fetched. */
  readonly dueAt: number
}

/** That wait. What is more is left to the first request. */
const maxWanted = 256

export class Prefetcher {
  readonly #deps: PrefetcherDeps
  readonly #wanted = new Map<string, Wanted>()
  readonly #closing = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #fetching: Promise<void> | undefined

  constructor(deps: PrefetcherDeps) {
    this.#deps = deps
  }

  /** @param delayMs later, so that those who are asked for it by others have it before */
  want(digest: string, revision?: RevisionRef, delayMs = 0): void {
    if (this.#closing.signal.aborted) return
    if (!this.#wanted.has(digest) && this.#wanted.size >= maxWanted) return
    const dueAt = performance.now() + delayMs
    const before = this.#wanted.get(digest)
    this.#wanted.set(digest, {
      digest,
      revision: revision ?? before?.revision,
      dueAt: Math.min(dueAt, before?.dueAt ?? Infinity),
    })
    this.#next()
  }

  /** What is on its way ends first. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the node is draining'))
    clearTimeout(this.#timer)
    this.#wanted.clear()
    await this.#fetching
  }

  #next(): void {
    clearTimeout(this.#timer)
    if (this.#fetching || this.#closing.signal.aborted) return
    const [first] = [...this.#wanted.values()].toSorted((a, b) => a.dueAt - b.dueAt)
    if (!first) return
    const waitMs = first.dueAt - performance.now()
    if (waitMs > 0) {
      this.#timer = setTimeout(() => this.#next(), waitMs).unref()
      return
    }
    this.#wanted.delete(first.digest)
    this.#fetching = this.#fetch(first).finally(() => {
      this.#fetching = undefined
      this.#next()
    })
  }

  /** Never rejects: whoever needs it fetches it again. */
  async #fetch({ digest, revision }: Wanted): Promise<void> {
    const { images, quiet, metrics, logger } = this.#deps
    try {
      await quiet(this.#closing.signal)
      const outcome = await images.prefetch(digest, revision)
      metrics.prefetches.inc({ outcome })
      if (outcome === 'no-room') logger.warn({ digest }, 'no room for a code image ahead of its first request')
    } catch (error) {
      if (this.#closing.signal.aborted) return
      metrics.prefetches.inc({ outcome: 'failed' })
      logger.warn({ err: error, digest }, 'a code image could not be fetched ahead of its first request')
    }
  }
}
