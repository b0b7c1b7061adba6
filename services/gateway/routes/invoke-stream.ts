/** InvokeWithResponseStream: the answer as events, each sent when the handler has written its bytes. */
import { text } from 'node:stream/consumers'
import { Type } from 'typebox'
import type { GatewayDeps } from '../deps.ts'
import { toGatewayError } from '../aws-errors.ts'
import { detailsOf, eventStreamType, invokeComplete, payloadChunks } from '../invoke/event-stream.ts'
import type { Invoked } from '../invoke/invoker.ts'
import { sendStream } from '../invoke/send-stream.ts'
import { serverTiming } from '../invoke/server-timing.ts'
import { targetOf } from '../lookup.ts'
import { bytesOf } from '../node-client.ts'
import { goneSignal, invokeHeaders, payloadSchema, readInvocation } from './invocation-request.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named, Qualified } from './views.ts'

export const invokeStreamOperations = (deps: GatewayDeps): AnyOperation[] => [
  operation({
    id: 'InvokeWithResponseStream',
    summary: 'Runs a function and streams its answer: PayloadChunk events, then InvokeComplete',
    method: 'POST',
    url: '/2021-11-15/functions/:FunctionName/response-streaming-invocations',
    params: Named,
    query: Qualified,
    headers: invokeHeaders(['RequestResponse', 'DryRun']),
    body: payloadSchema,
    bodyKind: 'payload',
    status: 200,
    reply: Type.String({ format: 'binary' }),
    replyType: eventStreamType,
    empty: { 204: 'it could be invoked (DryRun)' },
    errors: ['INVALID_REQUEST_CONTENT', 'START_FAILED', 'INSTANCE_LOST', 'NO_CAPACITY', 'DEADLINE_EXCEEDED'],
    handle: async ({ caller, params, query, request, reply }) => {
      const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
      const invocation = await readInvocation(deps, request, target)
      if (request.headers['x-amz-invocation-type'] === 'DryRun') return reply.code(204).send()
      const signal = goneSignal(reply)
      const invoked = await deps.invoker.invoke({ ...invocation, responseMode: 'stream', signal })
      const { receivedAt, authMs } = request
      const phases = {
        receivedAt,
        authMs,
        placeMs: invoked.placeMs,
        waitedMs: invoked.waitedMs,
        sentAt: invoked.sentAt,
      }
      reply.hijack()
      await sendStream(reply.raw, {
        status: 200,
        headers: {
          'content-type': eventStreamType,
          'x-amzn-requestid': invocation.invocationId,
          'x-amz-executed-version': invoked.config.version,
          'server-timing': serverTiming(phases),
        },
        body: events(invoked, request.headers['x-amz-log-type'] === 'Tail'),
        trailerNames: ['server-timing'],
        trailers: () => ({ 'server-timing': serverTiming(phases, invoked.reply.report()) }),
        stalledMs: deps.config.limits.stalledMs,
      })
      const startType = invoked.reply.report()?.startType ?? 'unknown'
      deps.metrics.invocationSeconds.observe({ start_type: startType }, (performance.now() - receivedAt) / 1000)
      return reply
    },
  }),
]

/** Ends with InvokeComplete however the invocation ends: with its status sent, that event is the only way to say it. */
export async function* events({ reply }: Pick<Invoked, 'reply'>, tail: boolean): AsyncGenerator<Uint8Array> {
  const log = (): string | undefined => (tail ? reply.report()?.logTail : undefined)
  try {
    if (reply.failedAtOnce !== undefined) {
      const errorDetails = await text(bytesOf(reply))
      yield invokeComplete({ errorCode: reply.failedAtOnce, errorDetails, logResult: log() })
      return
    }
    for await (const bytes of bytesOf(reply)) yield* payloadChunks(bytes)
    const errorCode = reply.functionError()
    const errorDetails = errorCode === undefined ? undefined : detailsOf(reply.report())
    yield invokeComplete({ errorCode, errorDetails, logResult: log() })
  } catch (error) {
    const { entry, message } = toGatewayError(error)
    yield invokeComplete({ errorCode: entry.awsType, errorDetails: message })
  }
}
