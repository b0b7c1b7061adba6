/** The answer of an invocation in buffered mode, as Lambda's Invoke gives it. */
import type { GatewayDeps } from '../deps.ts'
import { allBytes, bytesOf } from '../node-client.ts'
import type { Invocation } from './invoker.ts'
import type { StreamedAnswer } from './send-stream.ts'
import { serverTiming } from './server-timing.ts'

export interface AnswerWish {
  /** `X-Amz-Log-Type: Tail`. */
  readonly tail: boolean
  /** `performance.now()` when the head was there. */
  readonly receivedAt: number
  readonly authMs: number
}

/** Whole before a status is sent: an answer that breaks off becomes a typed error. @throws PlatformError as `Invoker` */
export const wholeAnswer = async (
  { invoker, metrics, config }: Pick<GatewayDeps, 'invoker' | 'metrics' | 'config'>,
  invocation: Omit<Invocation, 'responseMode'>,
  { tail, receivedAt, authMs }: AnswerWish,
): Promise<StreamedAnswer> => {
  const {
    reply,
    config: version,
    placeMs,
    waitedMs,
    sentAt,
  } = await invoker.invoke({ ...invocation, responseMode: 'buffered' })
  const answer = await allBytes(bytesOf(reply))
  const report = reply.report()
  const functionError = reply.functionError()
  const logTail = tail ? report?.logTail : undefined
  metrics.invocationSeconds.observe(
    { start_type: report?.startType ?? 'unknown' },
    (performance.now() - receivedAt) / 1000,
  )
  return {
    status: 200,
    headers: {
      'content-type': reply.contentType ?? 'application/json',
      'content-length': String(answer.length),
      'x-amzn-requestid': invocation.invocationId,
      'x-amz-executed-version': version.version,
      'server-timing': serverTiming({ receivedAt, authMs, placeMs, waitedMs, sentAt }, report),
      ...(functionError === undefined ? {} : { 'x-amz-function-error': functionError }),
      ...(logTail === undefined ? {} : { 'x-amz-log-result': logTail }),
    },
    body: answer,
    stalledMs: config.limits.stalledMs,
  }
}
