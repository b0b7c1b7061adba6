/** Brings usage records to the stream USAGE, each exactly once, for as long as it takes. */
import type { JetStreamClient } from '@nats-io/jetstream'
import type { Logger } from '../../chassis/log.ts'
import { isConflict } from '../../chassis/nats.ts'
import { subjects } from '../../contracts/subjects.ts'
import type { UsageRecord } from '../../contracts/usage.ts'

export interface UsagePublisherDeps {
  readonly js: Pick<JetStreamClient, 'publish'>
  readonly logger: Logger
  readonly acknowledged: (record: UsageRecord) => void
  readonly parallel?: number
  readonly retryMs?: number
}

/** How long a record waits for others, and lets the answer of its invocation go first. */
const delayMs = 20

export class UsagePublisher {
  readonly #deps: UsagePublisherDeps
  readonly #queue: UsageRecord[] = []
  #active = 0
  #pause: NodeJS.Timeout | undefined
  #soon: NodeJS.Timeout | undefined
  #idle: (() => void)[] = []
  #closed = false

  constructor(deps: UsagePublisherDeps) {
    this.#deps = deps
  }

  get pending(): number {
    return this.#queue.length + this.#active
  }

  publish(record: UsageRecord): void {
    this.#queue.push(record)
    this.#soon ??= setTimeout(() => this.#pump(), delayMs)
  }

  /** Resolves when everything is acknowledged, or after `graceMs`; what is left is in the journal. */
  async close(graceMs: number): Promise<void> {
    this.#pump()
    if (this.pending > 0) {
      const timer = Promise.withResolvers<void>()
      const handle = setTimeout(timer.resolve, graceMs)
      await Promise.race([new Promise<void>((resolve) => this.#idle.push(resolve)), timer.promise])
      clearTimeout(handle)
    }
    this.#closed = true
    clearTimeout(this.#pause)
    clearTimeout(this.#soon)
  }

  #pump(): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    while (!this.#closed && !this.#pause && this.#active < (this.#deps.parallel ?? 64)) {
      const record = this.#queue.shift()
      if (!record) break
      this.#active++
      void this.#send(record).finally(() => {
        this.#active--
        this.#pump()
        if (this.pending === 0) for (const resolve of this.#idle.splice(0)) resolve()
      })
    }
  }

  async #send(record: UsageRecord): Promise<void> {
    const subject = subjects.usage(record.tenant, record.name, record.invocationId, record.attempt)
    try {
      await this.#deps.js.publish(subject, JSON.stringify(record), {
        expect: { lastSubjectSequence: 0 },
        timeout: 5000,
      })
    } catch (error) {
      // Otherwise the subject has its record already.
      if (!isConflict(error)) {
        this.#deps.logger.warn({ err: error }, 'usage record not stored yet')
        this.#queue.push(record)
        this.#pause ??= setTimeout(() => {
          this.#pause = undefined
          this.#pump()
        }, this.#deps.retryMs ?? 1000)
        return
      }
    }
    this.#deps.acknowledged(record)
  }
}
