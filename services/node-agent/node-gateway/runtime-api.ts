/** The Runtime API on an instance's Unix socket. The socket is the identity: ids of other instances are unknown here. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { PlatformError } from '../../contracts/errors.ts'
import { preludeDelimiter } from '../../contracts/node.ts'
import { httpResponseType } from '../../contracts/runtime-api.ts'
import type { Endpoint } from './endpoint.ts'
import { reported, tooLarge } from './function-errors.ts'
import { readBody } from './invocation.ts'
import { fromAnswer } from './payload-v2.ts'
import type { Running } from './running-invocations.ts'

export interface AnswerLimits {
  readonly responseBytes: number
  readonly streamedResponseBytes: number
}

const errorLimit = 256 * 1024
const brokenAfterMs = 250

const reply = (response: ServerResponse, status: number, body: unknown): void => {
  if (response.headersSent || response.destroyed) return
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length }).end(bytes)
}
const refuse = (response: ServerResponse, status: number, errorType: string, errorMessage: string): void =>
  reply(response, status, { errorType, errorMessage })
const accepted = (response: ServerResponse): void => reply(response, 202, { status: 'OK' })

export const serveRuntimeApi = (endpoint: Endpoint, limits: AnswerLimits): Server => {
  const server = createServer(
    // Long polls and streamed answers have no request time-out; headers do, and the invocation's own time-out ends the rest.
    {
      maxHeaderSize: 64 * 1024,
      headersTimeout: 10_000,
      requestTimeout: 0,
      keepAliveTimeout: 0,
      connectionsCheckingInterval: 5_000,
    },
    (request, response) => {
      route(endpoint, limits, request, response).catch((error: unknown) => {
        const message = error instanceof PlatformError ? error.message : 'the request could not be handled'
        refuse(response, error instanceof PlatformError ? error.entry.status : 500, 'InvalidRequest', message)
        request.destroy()
      })
    },
  )
  server.maxConnections = 32
  server.on('clientError', (_error, socket) => socket.destroy())
  return server
}

const route = async (endpoint: Endpoint, limits: AnswerLimits, request: IncomingMessage, response: ServerResponse) => {
  const url = new URL(request.url ?? '/', 'http://instance')
  const operation = `${request.method} ${url.pathname}`
  if (operation === 'GET /forkyard/v1/assignment') return sendAssignment(endpoint, url, response)
  if (operation === 'GET /2018-06-01/runtime/invocation/next') {
    const kind = String(request.headers['forkyard-handler-kind'] ?? 'lambda')
    if (!endpoint.openPoll(response, kind))
      refuse(response, 403, 'InvalidStateTransition', 'Transition from Running to Ready is not allowed')
    return
  }
  if (operation === 'POST /2018-06-01/runtime/init/error') {
    endpoint.initFailed(await readBody(request, errorLimit, 'errorBytes'))
    return accepted(response)
  }
  const match = /^POST \/2018-06-01\/runtime\/invocation\/([^/]+)\/(response|error)$/.exec(operation)
  if (!match) return refuse(response, 404, 'InvalidRequest', `no such operation: ${operation}`)
  const running = endpoint.running(match[1] ?? '')
  if (!running) return refuse(response, 400, 'InvalidRequestID', 'Invalid request ID')
  if (running.answered) return refuse(response, 403, 'InvalidStateTransition', 'The invocation was answered before')
  running.answered = true
  if (match[2] === 'error') await endpoint.finish(running, reported(await readBody(request, errorLimit, 'errorBytes')))
  else await takeAnswer(endpoint, running, limits, request)
  accepted(response)
}

const sendAssignment = async (endpoint: Endpoint, url: URL, response: ServerResponse): Promise<void> => {
  const assignment = await endpoint.assignment()
  if (url.searchParams.get('format') !== 'environ') return reply(response, 200, assignment)
  const environ = Buffer.from(
    Object.entries(assignment.environment)
      .map(([key, value]) => `${key}=${value}\0`)
      .join(''),
  )
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': environ.length }).end(environ)
}

const defaultPrelude = (contentType: string): Buffer =>
  Buffer.concat([
    Buffer.from(JSON.stringify({ statusCode: 200, headers: { 'content-type': contentType }, cookies: [] })),
    preludeDelimiter,
  ])

/** Bytes of the answer go on as they come (`stream`), or whole once they are all here (`buffered`). */
const takeAnswer = async (
  endpoint: Endpoint,
  running: Running,
  limits: AnswerLimits,
  request: IncomingMessage,
): Promise<void> => {
  const { sink, request: invocation } = running.waiting
  const streaming = request.headers['lambda-runtime-function-response-mode'] === 'streaming'
  const ownType = request.headers['content-type']
  const http = invocation.kind === 'http'
  const integration = ownType === httpResponseType
  // A buffered answer to an HTTP request is JSON that becomes HTTP; it must be whole.
  const convert = http && !integration && !streaming
  const pass = invocation.responseMode === 'stream' && !convert
  const contentType = http ? httpResponseType : (ownType ?? 'application/json')
  const limit = pass ? limits.streamedResponseBytes : limits.responseBytes
  const parts: Buffer[] = []
  let size = 0
  const take = async (bytes: Buffer): Promise<void> => {
    if (!pass) return void parts.push(bytes)
    if (!running.opened) sink.open(contentType)
    running.opened = true
    await sink.write(bytes)
  }
  try {
    if (http && !integration && streaming) await take(defaultPrelude(ownType ?? 'application/octet-stream'))
    for await (const part of request as AsyncIterable<Buffer>) {
      if (running.done) continue
      size += part.length
      if (size <= limit) await take(part)
      else if (pass) break
      else parts.length = 0
    }
  } catch {
    // The runtime broke off in the middle. If it died, its end tells why, within a moment; if it lives, it broke the protocol.
    setTimeout(() => {
      if (!running.done) endpoint.protocolBroken('the answer ended early')
    }, brokenAfterMs)
    return
  }
  if (size > limit) return endpoint.finish(running, tooLarge(limit))
  const errorBody = request.trailers['lambda-runtime-function-error-body']
  if (request.trailers['lambda-runtime-function-error-type'] !== undefined)
    return endpoint.finish(running, reported(Buffer.from(errorBody ?? '', 'base64')))
  const whole = Buffer.concat(parts)
  if (!convert) return endpoint.finish(running, undefined, { body: whole, contentType })
  const { prelude, body } = fromAnswer(whole)
  return endpoint.finish(running, undefined, {
    body: Buffer.concat([Buffer.from(JSON.stringify(prelude)), preludeDelimiter, body]),
    contentType,
  })
}
