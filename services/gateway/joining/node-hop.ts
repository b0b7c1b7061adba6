/** Hop in from machines that join and nodes that have joined, on the port for calls. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
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
import { parseJson } from '../routes/code-body.ts'
import { readBody } from '../routes/read-body.ts'
import { compileSchema } from '../routes/validate.ts'
import type { Joining } from './joining.ts'

/** Of one address. Secrets have 256 bits, so this is for the log's sake and the store's. */
const maxFailures = 10
const failuresWithinMs = 10_000

/** Whether a request is this hop's. Functions cannot send the header. */
export const isNodeHop = ({ headers }: IncomingMessage): boolean => headers[hopHeader.name] === hopHeader.value

const limit = { key: 'body of a node', bytes: 16 * 1024 }
const stalledMs = 10_000
const checks = { join: compileSchema(JoinRequest, 'body'), refresh: compileSchema(RefreshRequest, 'body') }

/** @throws PlatformError REQUEST_TOO_LARGE, INVALID_REQUEST */
const bodyOf = async (request: IncomingMessage, check: typeof checks.join): Promise<unknown> => {
  const outcome = check(parseJson(await readBody(request, limit, stalledMs)))
  if ('error' in outcome) throw outcome.error
  return outcome.value
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
  /** Times by address. */
  const failures = new Map<string, number[]>()
  const recent = (address: string): number[] => {
    for (const [of, times] of failures)
      if (performance.now() - (times.at(-1) ?? 0) > failuresWithinMs) failures.delete(of)
    return (failures.get(address) ?? []).filter((at) => performance.now() - at < failuresWithinMs)
  }
  const join = async (request: IncomingMessage): Promise<JoinedConfig> => {
    const address = request.socket.remoteAddress ?? ''
    if (recent(address).length >= maxFailures)
      throw new PlatformError('TOO_MANY_REQUESTS', `${address} was refused too often`)
    try {
      return await joining.join((await bodyOf(request, checks.join)) as JoinRequest)
    } catch (error) {
      failures.set(address, [...recent(address), performance.now()])
      throw error
    }
  }
  const answer = async (request: IncomingMessage): Promise<JoinedConfig> => {
    const operation = `${request.method} ${request.url}`
    if (operation === `POST ${joinPath}`) return join(request)
    if (operation === `POST ${refreshPath}`)
      return joining.refresh(
        request.headers[callHeaders.token],
        (await bodyOf(request, checks.refresh)) as RefreshRequest,
      )
    throw new PlatformError('UNKNOWN_OPERATION', `no such operation: ${operation}`)
  }
  return (request, response) => {
    const { remoteAddress: from } = request.socket
    answer(request).then(
      (config) => send(response, 200, config),
      (thrown: unknown) => {
        const error = toPlatformError(thrown)
        const about = { err: thrown, code: error.code, requestId: randomUUID(), from }
        logger.warn(about, 'a machine was refused as a node')
        send(response, error.entry.status, error.toBody())
      },
    )
  }
}
