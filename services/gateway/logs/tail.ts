/** The records of one function from a stream of batches (LOGS, AUDIT), oldest first, then as they come. */
import { DeliverPolicy, type JetStreamClient } from '@nats-io/jetstream'
import type { AuditRecord } from '../../contracts/audit.ts'
import { streams, subjects } from '../../contracts/subjects.ts'
import type { LogRecord } from '../../contracts/usage.ts'

export interface TailOptions {
  readonly tenant: string
  readonly name: string
  /** Epoch milliseconds. */
  readonly since: number
  /** Go on after what is there now. */
  readonly follow: boolean
  /** Ends the tail, wherever it is. */
  readonly signal: AbortSignal
}

export interface RecordTail<R> {
  /** Ends by itself unless it follows; ends when `signal` is aborted. The consumer in NATS is gone when it has ended. */
  read(options: TailOptions): AsyncGenerator<readonly R[]>
}

/** The server drops a consumer that this gateway could not: after a crash. */
const inactiveMs = 60_000
const messagesAhead = 64

export type LogTail = RecordTail<LogRecord>
export type AuditTail = RecordTail<AuditRecord>

export const createLogTail = (js: JetStreamClient): LogTail => createTail(js, streams.logs, subjects.logs)
export const createAuditTail = (js: JetStreamClient): AuditTail => createTail(js, streams.audit, subjects.audit)

const createTail = <R extends { readonly at: number }>(
  js: JetStreamClient,
  stream: string,
  subjectOf: (tenant: string, name: string) => string,
): RecordTail<R> => ({
  async *read({ tenant, name, since, follow, signal }) {
    const subject = subjectOf(tenant, name)
    const manager = await js.jetstreamManager()
    const last = await manager.streams.getMessage(stream, { last_by_subj: subject })
    if (!follow && (!last || last.time.getTime() < since)) return
    const consumer = await js.consumers.get(stream, {
      filter_subjects: subject,
      deliver_policy: DeliverPolicy.StartTime,
      opt_start_time: new Date(since).toISOString(),
      inactive_threshold: inactiveMs * 1_000_000,
    })
    const messages = await consumer.consume({ max_messages: messagesAhead })
    const stop = (): void => messages.stop()
    signal.addEventListener('abort', stop, { once: true })
    try {
      if (signal.aborted) return
      for await (const message of messages) {
        yield recordsOf<R>(message.data, since)
        const caughtUp = message.info.pending === 0 || message.seq >= (last?.seq ?? 0)
        if (!follow && caughtUp) return
      }
    } finally {
      signal.removeEventListener('abort', stop)
      await messages.close()
      await consumer.delete().catch(() => undefined)
    }
  },
})

const recordsOf = <R extends { readonly at: number }>(data: Uint8Array, since: number): R[] => {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(data).toString('utf8'))
  } catch {
    return []
  }
  return Array.isArray(value) ? (value as R[]).filter(({ at }) => at >= since) : []
}
