/** Events that were given up: read, and put back into the queue. The stream DLQ holds them for two weeks. */
import { randomUUID } from 'node:crypto'
import type { JetStreamClient, StoredMsg } from '@nats-io/jetstream'
import { streams, subjects } from '../../contracts/subjects.ts'
import { letterOf, type AsyncQueue, type DeadLetter } from './queue.ts'

export interface StoredLetter {
  /** Position in the stream; ascending. */
  readonly seq: number
  readonly letter: DeadLetter
  readonly payload: Uint8Array
}

export interface DeadLetters {
  /** From `seq` on, oldest first, until `count` are read or their payloads exceed `bytes`; at least one if there is one. */
  list(tenant: string, name: string, from: number, count: number, bytes: number): Promise<StoredLetter[]>
  /**
   * Puts the oldest back, at most `count`, each as a new invocation. A letter leaves the stream once its event is stored, so a
   * crash in between may double one and never loses one. @returns the new invocation ids
   */
  redrive(tenant: string, name: string, count: number): Promise<{ invocationId: string; redriveOf: string }[]>
}

export const createDeadLetters = (js: JetStreamClient, queue: AsyncQueue): DeadLetters => {
  const next = async (subject: string, seq: number): Promise<StoredMsg | null> => {
    const manager = await js.jetstreamManager()
    // The server knows this form, the client's types do not.
    const query = { next_by_subj: subject, seq } as { seq: number }
    return manager.streams.getMessage(streams.dlq, query)
  }
  async function* from(tenant: string, name: string, seq: number): AsyncGenerator<StoredLetter> {
    const subject = subjects.deadLetter(tenant, name)
    for (let message = await next(subject, seq); message; message = await next(subject, message.seq + 1)) {
      const letter = letterOf(message.header)
      if (letter) yield { seq: message.seq, letter, payload: message.data }
    }
  }
  return {
    list: async (tenant, name, seq, count, bytes) => {
      const letters: StoredLetter[] = []
      let size = 0
      for await (const stored of from(tenant, name, seq)) {
        size += stored.payload.length
        if (letters.length > 0 && size > bytes) break
        letters.push(stored)
        if (letters.length >= count) break
      }
      return letters
    },
    redrive: async (tenant, name, count) => {
      const done: { invocationId: string; redriveOf: string }[] = []
      const { streams: letters } = await js.jetstreamManager()
      const last = await letters.getMessage(streams.dlq, { last_by_subj: subjects.deadLetter(tenant, name) })
      for await (const { seq, letter, payload } of from(tenant, name, 1)) {
        // What comes back dead meanwhile waits for the next call.
        if (seq > (last?.seq ?? 0)) break
        const { error: _error, attempts: _attempts, failedAt: _failedAt, ...event } = letter
        // A new id: the records of the attempts so far belong to the old one.
        const invocationId = randomUUID()
        const redriveOf = letter.invocationId
        await queue.push({ ...event, invocationId, redriveOf, acceptedAt: Date.now() }, payload, `redrive-${seq}`)
        await letters.deleteMessage(streams.dlq, seq)
        done.push({ invocationId, redriveOf })
        if (done.length >= count) break
      }
      return done
    },
  }
}
