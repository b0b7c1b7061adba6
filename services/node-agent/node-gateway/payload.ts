/** What an instance is handed when it pulls: the event, or the HTTP request as its handler takes it. */
import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Value } from 'typebox/value'
import { PlatformError } from '../../contracts/errors.ts'
import { HttpPrelude, preludeDelimiter } from '../../contracts/node.ts'
import { httpRequestType } from '../../contracts/runtime-api.ts'
import { maxEventBytes, readBody, type InvocationRequest } from './invocation.ts'
import { toPayloadV2 } from './payload-v2.ts'

export interface Payload {
  readonly body: Buffer | Readable
  readonly contentType: string
}

/** A gateway that was asked for the rest of a body and does not send it is cut off, and takes the request elsewhere. */
const restWithinMs = 5_000

/** Reads what must be whole before it is handed over: events, and HTTP requests for handlers that take events. */
export const preparePayload = async (request: InvocationRequest, handlerKind: string): Promise<Payload> => {
  request.askForRest?.()
  if (request.kind === 'http' && handlerKind !== 'lambda') return { body: request.body, contentType: httpRequestType }
  const limit = request.kind === 'http' ? maxEventBytes + 256 * 1024 : maxEventBytes
  const late = request.askForRest && setTimeout(() => request.body.destroy(noRest()), restWithinMs)
  const body = await readBody(request.body, limit, 'eventBytes').finally(() => clearTimeout(late))
  if (request.kind === 'event') return { body, contentType: 'application/json' }
  const at = body.indexOf(preludeDelimiter)
  let prelude: unknown
  try {
    prelude = JSON.parse(body.subarray(0, Math.max(0, at)).toString('utf8'))
  } catch {
    prelude = undefined
  }
  if (!Value.Check(HttpPrelude, prelude))
    throw new PlatformError('INVALID_REQUEST', 'the HTTP request has no valid prelude')
  const event = toPayloadV2(prelude, body.subarray(at + preludeDelimiter.length), request.invocationId)
  return { body: Buffer.from(JSON.stringify(event)), contentType: 'application/json' }
}

const noRest = (): PlatformError => new PlatformError('NO_INSTANCE', 'the gateway did not send the rest of the request')

/** Answers the pull. Rejects when the runtime goes away in the middle. */
export const handOver = async (
  response: ServerResponse,
  request: InvocationRequest,
  payload: Payload,
): Promise<void> => {
  const { body, contentType } = payload
  response.writeHead(200, {
    'content-type': contentType,
    ...(Buffer.isBuffer(body) ? { 'content-length': body.length } : {}),
    'Lambda-Runtime-Aws-Request-Id': request.invocationId,
    'Lambda-Runtime-Deadline-Ms': Math.min(Date.now() + request.timeoutMs, request.deadlineAt),
    'Lambda-Runtime-Invoked-Function-Arn': request.functionArn,
    ...(request.traceparent ? { 'Lambda-Runtime-Trace-Id': request.traceparent } : {}),
    ...(request.clientContext
      ? { 'Lambda-Runtime-Client-Context': Buffer.from(request.clientContext, 'base64').toString('latin1') }
      : {}),
  })
  if (Buffer.isBuffer(body)) response.end(body)
  else await pipeline(body, response)
}
