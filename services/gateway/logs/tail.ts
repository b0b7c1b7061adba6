/** The log records of one function from the stream LOGS, oldest first, then as they come. */
import { DeliverPolicy, type JetStreamClient } from '@nats-io/jetstream'
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

export interface LogTail {
  /** Ends by itself unless it follows; ends when `signal` is aborted. The consumer in NATS is gone when it has ended. */
  read(options: TailOptions): AsyncGenerator<readonly LogRecord[]>
}

/** The server drops a consumer that this gateway could not: after a crash. */
const inactiveMs = 60_000
const messagesAhead = 64

export const createLogTail = (js: JetStreamClient): LogTail => ({
  async *read({ tenant, name, since, follow, signal }) {
    const subject = subjects.logs(tenant, name)
    const manager = await js.jetstreamManager()
    const last = await manager.streams.getMessage(streams.logs, { last_by_subj: subject })
    if (!follow && (!last || last.time.getTime() < since)) return
    const consumer = await js.consumers.get(streams.logs, {
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
        yield recordsOf(message.data, since)
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

const recordsOf = (data: Uint8Array, since: number): LogRecord[] => {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(data).toString('utf8'))
  } catch {
    return []
  }
  return Array.isArray(value) ? (value as LogRecord[]).filter(({ at }) => at >= since) : []
}
