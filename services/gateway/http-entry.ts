/**
 * The HTTP server in front of all routes. Refuses what two parsers could read in two ways with one 400 and closes; gives
 * requests for function URLs, told by their Host, to their own handler, whatever method and path they have.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { randomUUID } from 'node:crypto'
import { PlatformError } from '../contracts/errors.ts'
import { toAwsReply } from './aws-errors.ts'

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void

export interface EntryOptions {
  readonly requestMs: number
  /** The id in a Host of the form `<urlId>.<urlDomain>[:port]`. */
  readonly urlIdOf: (host: string) => string | undefined
  readonly onFunctionUrl: (request: IncomingMessage, response: ServerResponse, urlId: string) => void
}

const headersMs = 15_000
const maxHeaderBytes = 32 * 1024
/** Longer than the idle time of any proxy in front, so that none of them writes into a connection that closes. */
const keepAliveMs = 65_000

export const createEntry = (handler: RequestHandler, { requestMs, urlIdOf, onFunctionUrl }: EntryOptions): Server => {
  const server = createServer(
    {
      requestTimeout: requestMs,
      headersTimeout: Math.min(headersMs, requestMs),
      connectionsCheckingInterval: Math.min(2_000, requestMs),
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: maxHeaderBytes,
      requireHostHeader: true,
    },
    (request, response) => {
      newest.set(request.socket, response)
      const problem = ambiguity(request)
      if (problem !== undefined) return refuse(response, problem)
      const urlId = urlIdOf(request.headers.host ?? '')
      if (urlId === undefined) handler(request, response)
      else onFunctionUrl(request, response, urlId)
    },
  )
  server.on('connect', (_request, socket) => refuseUnparsed({ code: 'HPE_INVALID_METHOD' }, socket as Socket))
  return server
}

/** Node's parser has refused the rest: lengths that contradict each other, bare line feeds, bad tokens. */
const ambiguity = (request: IncomingMessage): string | undefined => {
  const { url = '', rawHeaders, httpVersion, headers } = request
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === 'host') hosts++
  if (hosts > 1) return 'there is more than one Host'
  if (!/^[A-Za-z0-9.:[\]_-]*$/.test(headers.host ?? '')) return 'Host is malformed'
  if (!url.startsWith('/')) return 'the target must be a path'
  const encoding = headers['transfer-encoding']
  if (encoding === undefined) return undefined
  if (httpVersion !== '1.1') return 'Transfer-Encoding is of HTTP/1.1'
  if (headers['content-length'] !== undefined) return 'both Content-Length and Transfer-Encoding are there'
  return encoding.trim().toLowerCase() === 'chunked' ? undefined : 'the only Transfer-Encoding is chunked'
}

const refuse = (response: ServerResponse, problem: string): void => {
  const error = new PlatformError('INVALID_REQUEST', `Malformed request: ${problem}`)
  const { status, headers, body } = toAwsReply(error, randomUUID())
  const text = Buffer.from(JSON.stringify(body))
  response.writeHead(status, { ...headers, connection: 'close', 'content-length': text.length }).end(text)
}

const statusLines: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** The reply to the newest request of each connection. */
const newest = new WeakMap<Socket, ServerResponse>()

/** For `clientErrorHandler`. */
export const refuseUnparsed = (error: { readonly code?: string }, socket: Socket): void => {
  const reply = newest.get(socket)
  // One request has one answer: when its own is on the way or out, its broken rest gets none.
  const answered = reply?.headersSent === true && !(reply.writableFinished && reply.req.complete)
  if (answered || !socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const line = statusLines[error.code ?? ''] ?? '400 Bad Request'
  socket.end(`HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  // What the client goes on sending must not keep the connection.
  setTimeout(() => socket.destroy(), 1_000).unref()
}
