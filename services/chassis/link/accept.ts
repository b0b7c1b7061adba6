/**
 * Links in: `GET <path>` with `Upgrade: forkyard-link` on the service's own port, so that they share its TLS, its firewall rules and its
 * token. Both say their version of what is spoken between services.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { PlatformError } from '../../contracts/errors.ts'
import { protocolHeader, protocolVersion, requireKnownProtocol } from '../../contracts/protocol.ts'
import { toPlatformError } from '../http-server.ts'
import { isBearer } from '../bearer.ts'
import { Link, type Message } from './link.ts'
import { linkProtocol } from './protocol.ts'

/** One peer's side of the conversation. */
export interface Session {
  /**
   * Answers `[kind, call, ...]`; what it returns goes back as `['done', call, ...]`. @throws PlatformError goes back as it is.
   *
   * @param gone tells whether the caller has given up or is away
   */
  handle(message: Message, gone: () => boolean): Message | Promise<Message>
  close?(): void
}

export interface Acceptor {
  readonly path: string
  readonly token: string
  readonly open: (request: IncomingMessage) => Session
}

const refuse = (socket: Duplex, error: PlatformError): void => {
  const body = Buffer.from(JSON.stringify(error.toBody()))
  socket.write(`HTTP/1.1 ${error.entry.status} ${error.code}\r\nconnection: close\r\n`)
  socket.write(`content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`)
  socket.end(body)
}

/** @throws PlatformError FORBIDDEN, UNKNOWN_OPERATION, UNSUPPORTED_PROTOCOL */
const choose = ({ url, headers }: IncomingMessage, acceptors: readonly Acceptor[]): Acceptor => {
  const wanted = acceptors.find(({ path }) => path === url)
  if (!(wanted ? [wanted] : acceptors).some(({ token }) => isBearer(headers.authorization, token)))
    throw new PlatformError('FORBIDDEN', 'this hop needs the token of the installation')
  if (!wanted || headers.upgrade !== linkProtocol)
    throw new PlatformError('UNKNOWN_OPERATION', `no such link: ${String(url)}`)
  requireKnownProtocol(headers[protocolHeader]?.toString())
  return wanted
}

/** Links end with the server, which takes no new ones then: what was answered is sent before. To be called once for all links of a server. */
export const acceptLinks = (app: FastifyInstance, ...acceptors: readonly Acceptor[]): void => {
  const links = new Set<Link>()
  let closing = false
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    if (closing) return socket.destroy()
    let open: Acceptor['open']
    try {
      open = choose(request, acceptors).open
    } catch (error) {
      return refuse(socket, toPlatformError(error))
    }
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${linkProtocol}\r\n`)
    socket.write(`${protocolHeader}: ${protocolVersion}\r\n\r\n`)
    serve(socket, head, open(request), links)
  })
  app.addHook('preClose', async () => {
    closing = true
    for (const link of links) link.end()
  })
}

const serve = (socket: Duplex, head: Buffer, session: Session, links: Set<Link>): void => {
  /** Calls that are answered later, and whether their caller still waits. */
  const later = new Map<number, { gone: boolean }>()
  const link: Link = new Link(
    socket,
    {
      onMessage: (message) => take(message),
      onClose: () => {
        links.delete(link)
        for (const call of later.values()) call.gone = true
        session.close?.()
      },
    },
    head,
  )
  links.add(link)
  const refused = (call: number, error: unknown): void => {
    if (call > 0) link.send(['refused', call, toPlatformError(error).toBody()])
  }
  const answerLater = async (call: number, state: { gone: boolean }, result: Promise<Message>): Promise<void> => {
    later.set(call, state)
    try {
      link.send(['done', call, ...(await result)])
    } catch (error) {
      refused(call, error)
    } finally {
      later.delete(call)
    }
  }
  const take = (message: Message): void => {
    const [kind, call] = message
    if (typeof kind !== 'string' || typeof call !== 'number')
      return link.destroy(new Error('a message without kind or call'))
    if (kind === 'cancel') {
      const state = later.get(call)
      if (state) state.gone = true
      return
    }
    const state = { gone: false }
    try {
      const result = session.handle(message, () => state.gone)
      if (result instanceof Promise) void answerLater(call, state, result)
      else if (call > 0) link.send(['done', call, ...result])
    } catch (error) {
      refused(call, error)
    }
  }
}
