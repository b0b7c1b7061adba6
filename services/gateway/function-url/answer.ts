/** The function's answer as the answer of its URL: whole with a length, or streamed with the timing in the trailer. */
import type { ServerResponse } from 'node:http'
import { PlatformError } from '../../contracts/errors.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Invoked } from '../invoke/invoker.ts'
import { sendStream } from '../invoke/send-stream.ts'
import { serverTiming, type GatewayPhases } from '../invoke/server-timing.ts'
import { allBytes, bytesOf, type NodeReply } from '../node-client.ts'
import { sendFunctionError } from './error-reply.ts'
import { splitResponse } from './response.ts'

export type UrlPhases = { -readonly [key in keyof GatewayPhases]: GatewayPhases[key] }

export interface Answer {
  readonly response: ServerResponse
  readonly requestId: string
  readonly invoked: Invoked
  readonly phases: UrlPhases
  readonly cors: Readonly<Record<string, string>>
  readonly streamed: boolean
}

const bodiless = new Set([204, 205, 304])

export const sendAnswer = async (deps: GatewayDeps, answer: Answer): Promise<void> => {
  const { response, requestId, invoked, phases, cors, streamed } = answer
  const { reply } = invoked
  const observe = (): void =>
    deps.metrics.invocationSeconds.observe(
      { start_type: reply.report()?.startType ?? 'unknown' },
      (performance.now() - phases.receivedAt) / 1000,
    )
  const { failedAtOnce } = reply
  if (failedAtOnce !== undefined) {
    await allBytes(bytesOf(reply))
    observe()
    const timing = serverTiming(phases, reply.report())
    return sendFunctionError(response, failedAtOnce, reply.report(), {
      ...cors,
      'x-amzn-requestid': requestId,
      'server-timing': timing,
    })
  }
  const bytes = bytesOf(reply)
  const { head, body } = await splitResponse(bytes)
  const noBody = response.req.method === 'HEAD' || bodiless.has(head.status)
  const whole = streamed && !noBody ? undefined : await allBytes(body)
  if (whole) observe()
  const { 'content-length': declared, 'server-timing': own, ...headers } = head.headers
  const timing = serverTiming(phases, whole ? reply.report() : undefined)
  await sendStream(response, {
    status: head.status,
    headers: {
      ...headers,
      // The settings of the URL win over what the function says.
      ...cors,
      ...(cors['vary'] && headers['vary'] ? { vary: [headers['vary'], cors['vary']].flat().join(', ') } : {}),
      'x-amzn-requestid': requestId,
      'server-timing': own === undefined ? timing : [own, timing].flat().join(', '),
      ...lengthOf(response.req.method === 'HEAD', declared, noBody ? undefined : whole),
    },
    body: whole ? (noBody ? Buffer.alloc(0) : whole) : unlessFailed(body, reply),
    ...(whole
      ? {}
      : {
          trailerNames: ['server-timing'],
          trailers: () => ({ 'server-timing': serverTiming(phases, reply.report()) }),
        }),
    stalledMs: deps.config.limits.stalledMs,
  })
  if (!whole) observe()
}

/** A function that fails after its first bytes has its answer cut off: the client must not take it for whole. */
async function* unlessFailed(body: AsyncGenerator<Buffer>, reply: NodeReply): AsyncGenerator<Buffer> {
  yield* body
  if (reply.functionError() !== undefined)
    throw new PlatformError('INSTANCE_LOST', 'the function failed in the middle of its answer')
}

/** The function's own length counts for HEAD alone: elsewhere a wrong one would break the framing. */
const lengthOf = (
  head: boolean,
  declared: string | readonly string[] | undefined,
  whole: Buffer | undefined,
): Record<string, string> => {
  if (head) return typeof declared === 'string' && /^\d{1,15}$/.test(declared) ? { 'content-length': declared } : {}
  return whole ? { 'content-length': String(whole.length) } : {}
}
