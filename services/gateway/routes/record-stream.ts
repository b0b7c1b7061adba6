/** Records of a function as NDJSON: those that are there, and with `follow` those to come. */
import { once } from 'node:events'
import type { FastifyReply } from 'fastify'
import { Type, type Static } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import type { GatewayDeps } from '../deps.ts'
import { sendStream } from '../invoke/send-stream.ts'
import type { RecordTail } from '../logs/tail.ts'
import { goneSignal } from './invocation-request.ts'

export const RecordQuery = Type.Object({
  since: Type.Optional(Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000, description: 'epoch milliseconds' })),
  follow: Type.Optional(Type.Boolean()),
})
export type RecordQuery = Static<typeof RecordQuery>

const defaultSpanMs = 10 * 60_000
/** An empty line so often: a reader that is gone is noticed, and no proxy in between gives up. */
const heartbeatMs = 15_000
const maxReaders = 256

export type SendRecords = (
  of: { readonly tenant: string; readonly name: string },
  query: RecordQuery,
  reply: FastifyReply,
) => Promise<FastifyReply>

/** @param what for the refusal: `logs` */
export const recordSender = <R>(
  { closing, config }: Pick<GatewayDeps, 'closing' | 'config'>,
  tail: RecordTail<R>,
  what: string,
): SendRecords => {
  let readers = 0
  return async ({ tenant, name }, { since = Date.now() - defaultSpanMs, follow = false }, reply) => {
    if (readers >= maxReaders)
      throw new PlatformError('TOO_MANY_REQUESTS', `${maxReaders} readers of ${what} are connected`)
    readers++
    try {
      const signal = AbortSignal.any([goneSignal(reply), closing])
      const batches = tail.read({ tenant, name, since, follow, signal })
      // The first step shows whether the store is there, while a status can still say so.
      const first = follow ? undefined : await batches.next()
      reply.hijack()
      await sendStream(reply.raw, {
        status: 200,
        headers: { 'content-type': 'application/x-ndjson', 'x-amzn-requestid': reply.request.id },
        body: withHeartbeat(lines(first, batches), signal),
        stalledMs: config.limits.stalledMs,
      })
      return reply
    } finally {
      readers--
    }
  }
}

const encode = (records: readonly unknown[]): Buffer =>
  Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(''))

async function* lines(
  first: IteratorResult<readonly unknown[]> | undefined,
  batches: AsyncGenerator<readonly unknown[]>,
): AsyncGenerator<Buffer> {
  try {
    if (first?.done) return
    if (first) yield encode(first.value)
    for await (const records of batches) yield encode(records)
  } finally {
    await batches.return(undefined)
  }
}

const newline = Buffer.from('\n')

/** Ends early, without an error, when `signal` is aborted. */
async function* withHeartbeat(source: AsyncGenerator<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  const aborted = signal.aborted ? Promise.resolve() : once(signal, 'abort')
  let next = source.next()
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined
      const beat = new Promise<'beat'>((resolve) => (timer = setTimeout(resolve, heartbeatMs, 'beat')))
      const step = await Promise.race([next, beat, aborted.then(() => 'aborted' as const)])
      clearTimeout(timer)
      if (step === 'aborted') return
      if (step === 'beat') yield newline
      else if (step.done) return
      else {
        yield step.value
        next = source.next()
      }
    }
  } finally {
    next.catch(() => undefined)
    await source.return(undefined)
  }
}
