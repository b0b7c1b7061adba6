/** Brings log records to the stream LOGS. */
import type { LogRecord } from '../../contracts/usage.ts'
import { subjects } from '../../contracts/subjects.ts'
import { BatchPublisher, type BatchPublisherDeps } from '../batch-publisher.ts'

export interface LogPublisherDeps extends Omit<BatchPublisherDeps, 'what' | 'onDropped'> {
  readonly onDropped: (bytes: number) => void
}

export class LogPublisher {
  readonly #batches: BatchPublisher

  constructor({ onDropped, ...deps }: LogPublisherDeps) {
    this.#batches = new BatchPublisher({ ...deps, what: 'logs', onDropped: (_records, bytes) => onDropped(bytes) })
  }

  add(tenant: string, name: string, record: LogRecord): void {
    this.#batches.add(subjects.logs(tenant, name), record)
  }

  /** Sends what waits; resolves when it was tried. Never rejects. */
  flush(): Promise<void> {
    return this.#batches.flush()
  }
}
