/**
 * Links in: `GET <path>` with `Upgrade: forkyard-link` on the service's own port, so that they share its TLS, its firewall rules and its
 * token. The caller names the versions of the protocol that it speaks, the answer names one.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { toPlatformError } from '../http-server.ts'
import { isBearer } from '../bearer.ts'
import { Link, type Message } from './link.ts'
import { linkHeaders, linkProtocol, type LinkProtocol } from './protocol.ts'

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
  readonly protocol: LinkProtocol
  readonly token: string
  readonly open: (version: number, request: IncomingMessage) => Session
}

const refuse = (socket: Duplex, status: string, headers = ''): void => {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n${headers}\r\n`)
}

const newestCommon = (protocol: LinkProtocol, offered: string): number | undefined =>
  offered
    .split(',')
    .map(Number)
    .filter((version) => protocol.versions.includes(version))
    .toSorted((a, b) => b - a)[0]

/** Links end with the server: what was answered is sent before. */
export const acceptLinks = (app: FastifyInstance, { protocol, token, open }: Acceptor): void => {
  const links = new Set<Link>()
  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    if (!isBearer(request.headers.authorization, token)) return refuse(socket, '403 Forbidden')
    if (request.url !== protocol.path || request.headers.upgrade !== linkProtocol)
      return refuse(socket, '404 Not Found')
    const version = newestCommon(protocol, String(request.headers[linkHeaders.versions] ?? ''))
    const known = `${linkHeaders.versions}: ${protocol.versions.join(',')}\r\n`
    if (version === undefined) return refuse(socket, '426 Upgrade Required', known)
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${linkProtocol}\r\n${linkHeaders.version}: ${version}\r\n\r\n`,
    )
    serve(socket, head, open(version, request), links)
  })
  app.addHook('preClose', async () => {
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
