/** The gateway's port for nodes: they bring what functions ask of other functions. Nobody else has any business there. */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { isBearer } from '../../chassis/bearer.ts'
import { toPlatformError } from '../../chassis/http-server.ts'
import { callHeaders } from '../../contracts/calls.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { protocolHeader, requireKnownProtocol } from '../../contracts/protocol.ts'
import type { GatewayConfig } from '../config.ts'
import type { Joining } from '../joining/joining.ts'
import { isNodeHop, type NodeHopHandler } from '../joining/node-hop.ts'
import { refuseCall } from './handle-call.ts'

export interface CallServer {
  readonly url: string
  /** That it listens on. */
  readonly port: number
  /** Takes no new calls, lets those of now end. @param cutAfterMs what is still open then is cut off */
  close(cutAfterMs: number): Promise<void>
}

const headersMs = 15_000
const keepAliveMs = 65_000
const maxHeaderBytes = 64 * 1024
const idleSweepMs = 50

/** Nodes that joined, and machines that are about to. */
export interface JoiningHop extends Pick<Joining, 'isNode'> {
  readonly handle: NodeHopHandler
}

/** With its authority's certificate, by which machines that are to join know it. @throws Error when the port cannot be listened on. */
export const startCallServer = async (
  { listen, url, token, tls }: NonNullable<GatewayConfig['calls']>,
  requestMs: number,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  joining?: JoiningHop,
): Promise<CallServer> => {
  const options = {
    requestTimeout: requestMs,
    headersTimeout: Math.min(headersMs, requestMs),
    keepAliveTimeout: keepAliveMs,
    maxHeaderSize: maxHeaderBytes,
  }
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    try {
      const joins = joining && isNodeHop(request)
      if (!joins) requireNode(request, token, joining)
      requireProtocol(request)
      if (joins) return joining.handle(request, response)
      handle(request, response)
    } catch (error) {
      refuseCall(response, toPlatformError(error), randomUUID())
    }
  }
  const server: Server = tls
    ? createTlsServer({ ...options, cert: `${tls.cert}\n${tls.ca}`, key: tls.key, minVersion: 'TLSv1.3' }, onRequest)
    : createServer(options, onRequest)
  server.listen(listen.port, listen.host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { url, port, close: (cutAfterMs) => drain(server, cutAfterMs) }
}

/** @throws PlatformError FORBIDDEN */
const requireNode = ({ headers }: IncomingMessage, token: string, joining: JoiningHop | undefined): void => {
  const shown = headers[callHeaders.token]
  if (!isBearer(shown, token) && joining?.isNode(shown) !== true)
    throw new PlatformError('FORBIDDEN', 'this hop needs the token of nodes')
}

/** @throws PlatformError UNSUPPORTED_PROTOCOL */
const requireProtocol = ({ headers }: IncomingMessage): void => {
  const said = headers[protocolHeader]
  requireKnownProtocol(Array.isArray(said) ? said.join() : said)
}

const drain = async (server: Server, cutAfterMs: number): Promise<void> => {
  const sweep = setInterval(() => server.closeIdleConnections(), idleSweepMs)
  const cut = setTimeout(() => server.closeAllConnections(), cutAfterMs)
  await new Promise<void>((resolve) => server.close(() => resolve()))
  clearInterval(sweep)
  clearTimeout(cut)
}
