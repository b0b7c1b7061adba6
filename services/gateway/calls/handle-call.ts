/** A function calls another one: from what its node brings to the last byte of the answer. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { callHeaders, maxHops } from '../../contracts/calls.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { toGatewayError } from '../aws-errors.ts'
import { dropRest } from '../function-url/error-reply.ts'
import { single, type Call, type CallDeps } from './call.ts'
import { answerHttp } from './http-call.ts'
import { answerInvoke, isForApi } from './invoke-call.ts'

/** Whoever calls it has shown that it is a node. */
export const createCallHandler =
  (deps: CallDeps) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const requestId = randomUUID()
    response.once('close', () =>
      deps.metrics.requests.inc({ operation: 'FunctionCall', status: String(response.statusCode) }),
    )
    if (deps.closing.aborted) response.setHeader('connection', 'close')
    answer(deps, request, response, requestId).catch((thrown: unknown) => {
      const error = toGatewayError(thrown)
      if (error.entry.status >= 500 && !response.destroyed)
        deps.logger.error({ err: thrown, code: error.code, requestId }, error.message)
      refuseCall(response, error, requestId)
    })
  }

const answer = async (
  deps: CallDeps,
  request: IncomingMessage,
  response: ServerResponse,
  requestId: string,
): Promise<void> => {
  const receivedAt = performance.now()
  const shown = single(request, callHeaders.ticket)
  if (shown === undefined) throw new PlatformError('INVALID_REQUEST', `a call needs the header ${callHeaders.ticket}`)
  const ticket = deps.tickets.check(shown, Date.now())
  const hops = ticket.hops + 1
  if (hops > maxHops)
    throw new PlatformError('RECURSIVE_INVOCATION', `this would be call ${hops} of a chain that may have ${maxHops}`)
  const binding = single(request, callHeaders.binding) ?? ''
  const call: Call = { request, response, requestId, receivedAt, ticket, hops, binding }
  await (isForApi(call) ? answerInvoke(deps, call) : answerHttp(deps, call))
}

/** For the function's author: the code, and what it is about. */
export const refuseCall = (response: ServerResponse, error: PlatformError, requestId: string): void => {
  if (response.headersSent || response.destroyed) return void response.destroy()
  const { status, awsType, retryable } = error.entry
  const body = Buffer.from(`${JSON.stringify(error.toBody())}\n`)
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': body.length,
      'x-amzn-requestid': requestId,
      'x-amzn-errortype': awsType,
      'x-forkyard-error': error.code,
      [callHeaders.error]: error.code,
      ...(retryable ? { 'retry-after': '1' } : {}),
      ...(dropRest(response.req) ? {} : { connection: 'close' }),
    })
    .end(body)
}
