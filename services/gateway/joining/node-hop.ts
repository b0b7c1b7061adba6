/** Hop in from machines that join and nodes that have joined, on the port for calls. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { toPlatformError } from '../../chassis/http-server.ts'
import type { Logger } from '../../chassis/log.ts'
import { callHeaders } from '../../contracts/calls.ts'
import { PlatformError } from '../../contracts/errors.ts'
import {
  hopHeader,
  joinPath,
  JoinRequest,
  refreshPath,
  RefreshRequest,
  type JoinedConfig,
} from '../../contracts/joining.ts'
import type { Joining } from './joining.ts'

const maxBodyBytes = 16 * 1024
/** Secrets have 256 bits, so this is for the log's sake and the store's. */
const maxFailures = 10
const failuresWithinMs = 1_000

/** Whether a request is this hop's. Functions cannot send the header. */
export const isNodeHop = ({ headers }: IncomingMessage): boolean => headers[hopHeader.name] === hopHeader.value

/** @throws PlatformError REQUEST_TOO_LARGE, INVALID_REQUEST */
const bodyOf = async <T extends TSchema>(request: IncomingMessage, schema: T) => {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > maxBodyBytes) throw new PlatformError('REQUEST_TOO_LARGE', `a body has at most ${maxBodyBytes} bytes`)
    parts.push(part)
  }
  const compiled = Compile(schema)
  let value: unknown
  try {
    value = JSON.parse(Buffer.concat(parts).toString())
  } catch {
    throw new PlatformError('INVALID_REQUEST', 'the body is no JSON')
  }
  if (compiled.Check(value)) return value
  const [first] = compiled.Errors(value)
  throw new PlatformError('INVALID_REQUEST', `${first?.instancePath ?? ''}: ${first?.message ?? 'it does not fit'}`)
}

const send = (response: ServerResponse, status: number, body: unknown): void => {
  if (response.destroyed) return
  const bytes = Buffer.from(JSON.stringify(body))
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length, connection: 'close' })
    .end(bytes)
}

export type NodeHopHandler = (request: IncomingMessage, response: ServerResponse) => void

export const createNodeHop = (joining: Pick<Joining, 'join' | 'refresh'>, logger: Logger): NodeHopHandler => {
  let failures: number[] = []
  const join = async (request: IncomingMessage): Promise<JoinedConfig> => {
    failures = failures.filter((at) => performance.now() - at < failuresWithinMs)
    if (failures.length >= maxFailures) throw new PlatformError('TOO_MANY_REQUESTS', 'too many machines were refused')
    try {
      return await joining.join(await bodyOf(request, JoinRequest))
    } catch (error) {
      failures.push(performance.now())
      throw error
    }
  }
  const answer = async (request: IncomingMessage): Promise<JoinedConfig> => {
    const operation = `${request.method} ${request.url}`
    if (operation === `POST ${joinPath}`) return join(request)
    if (operation === `POST ${refreshPath}`)
      return joining.refresh(request.headers[callHeaders.token], await bodyOf(request, RefreshRequest))
    throw new PlatformError('UNKNOWN_OPERATION', `no such operation: ${operation}`)
  }
  return (request, response) => {
    answer(request).then(
      (config) => send(response, 200, config),
      (thrown: unknown) => {
        const error = toPlatformError(thrown)
        const about = { err: thrown, code: error.code, requestId: randomUUID(), from: request.socket.remoteAddress }
        logger.warn(about, 'a machine was refused as a node')
        send(response, error.entry.status, error.toBody())
      },
    )
  }
}
