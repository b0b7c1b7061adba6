/** Batches records to a stream. Memory is bounded: while NATS is away the oldest records go, and are counted. */
import type { JetStreamClient } from '@nats-io/jetstream'
import type { Logger } from '../chassis/log.ts'

export interface BatchPublisherDeps {
  readonly js: Pick<JetStreamClient, 'publish'>
  readonly logger: Logger
  /** What the records are, for the log: `logs`. */
  readonly what: string
  readonly onDropped: (records: number, bytes: number) => void
  readonly maxBytes?: number
  readonly batchBytes?: number
  readonly delayMs?: number
}

interface Waiting {
  readonly subject: string
  readonly json: string
}

export class BatchPublisher {
  readonly #deps: Required<BatchPublisherDeps>
  #queue: Waiting[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined

  constructor(deps: BatchPublisherDeps) {
    this.#deps = { maxBytes: 16 * 1024 * 1024, batchBytes: 256 * 1024, delayMs: 50, ...deps }
  }

  /** The message on the subject is a JSON array of records. */
  add(subject: string, record: unknown): void {
    const json = JSON.stringify(record)
    this.#queue.push({ subject, json })
    this.#bytes += json.length
    let drop = 0
    while (this.#bytes > this.#deps.maxBytes && drop < this.#queue.length) {
      const size = this.#queue[drop++]?.json.length ?? 0
      this.#bytes -= size
      this.#deps.onDropped(1, size)
    }
    if (drop > 0) this.#queue.splice(0, drop)
    this.#timer ??= setTimeout(() => void this.flush(), this.#deps.delayMs)
  }

  /** Sends what waits; resolves when it was tried. Never rejects. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined
      if (this.#queue.length > 0) this.#timer ??= setTimeout(() => void this.flush(), this.#deps.delayMs)
    })
    await this.#sending
  }

  async #send(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#take()
      const subject = batch[0]?.subject ?? ''
      try {
        await this.#deps.js.publish(subject, `[${batch.map((item) => item.json).join(',')}]`, { timeout: 5000 })
      } catch (error) {
        this.#deps.logger.warn({ err: error }, `${this.#deps.what} not stored yet`)
        this.#queue = [...batch, ...this.#queue]
        for (const item of batch) this.#bytes += item.json.length
        return
      }
    }
  }

  /** The records of the oldest one's subject, up to a batch; the order within a subject stays. */
  #take(): Waiting[] {
    const subject = this.#queue[0]?.subject
    const batch: Waiting[] = []
    const rest: Waiting[] = []
    let size = 0
    for (const item of this.#queue) {
      const fits = item.subject === subject && (batch.length === 0 || size + item.json.length <= this.#deps.batchBytes)
      if (fits) size += item.json.length
      else if (item.subject === subject) size = Infinity
      ;(fits ? batch : rest).push(item)
    }
    this.#queue = rest
    for (const item of batch) this.#bytes -= item.json.length
    return batch
  }
}
