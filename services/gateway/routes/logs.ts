/** The log of a function, one JSON record a line. */
import { once } from 'node:events'
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { LogRecord } from '../../contracts/usage.ts'
import type { GatewayDeps } from '../deps.ts'
import { sendStream } from '../invoke/send-stream.ts'
import { findRecord, unqualified } from '../lookup.ts'
import { operation, type AnyOperation } from './operation.ts'
import { goneSignal } from './invocation-request.ts'
import { Named } from './views.ts'

const Query = Type.Object({
  since: Type.Optional(Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000, description: 'epoch milliseconds' })),
  follow: Type.Optional(Type.Boolean()),
})
const defaultSpanMs = 10 * 60_000
/** An empty line so often: a reader that is gone is noticed, and no proxy in between gives up. */
const heartbeatMs = 15_000
const maxReaders = 256

export const logOperations = (deps: GatewayDeps): AnyOperation[] => {
  let readers = 0
  return [
    operation({
      id: 'GetLogs',
      summary: 'Log records since a time, oldest first; with follow=true also those to come',
      method: 'GET',
      url: '/forkyard/v1/functions/:FunctionName/logs',
      params: Named,
      query: Query,
      status: 200,
      reply: LogRecord,
      replyType: 'application/x-ndjson',
      handle: async ({ caller, params, query, reply }) => {
        const target = unqualified(deps, caller.tenant, params.FunctionName)
        const { tenant, name } = await findRecord(deps.registry, target)
        if (readers >= maxReaders)
          throw new PlatformError('TOO_MANY_REQUESTS', `${maxReaders} readers of logs are connected`)
        readers++
        try {
          const { since = Date.now() - defaultSpanMs, follow = false } = query
          const signal = AbortSignal.any([goneSignal(reply), deps.closing])
          const batches = deps.logs.read({ tenant, name, since, follow, signal })
          // The first step shows whether the store is there, while a status can still say so.
          const first = follow ? undefined : await batches.next()
          reply.hijack()
          await sendStream(reply.raw, {
            status: 200,
            headers: { 'content-type': 'application/x-ndjson', 'x-amzn-requestid': reply.request.id },
            body: withHeartbeat(lines(first, batches), signal),
            stalledMs: deps.config.limits.stalledMs,
          })
          return reply
        } finally {
          readers--
        }
      },
    }),
  ]
}

const encode = (records: readonly LogRecord[]): Buffer =>
  Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(''))

async function* lines(
  first: IteratorResult<readonly LogRecord[]> | undefined,
  batches: AsyncGenerator<readonly LogRecord[]>,
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
