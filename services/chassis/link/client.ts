/** The calling side of links: one connection to one service, opened when it is needed, and many calls at the same time on it. */
import { request as requestPlain, type IncomingMessage } from 'node:http'
import { request as requestTls } from 'node:https'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { PlatformError } from '../../contracts/errors.ts'
import { protocolHeader, protocolHeaders, requireKnownProtocol } from '../../contracts/protocol.ts'
import type { CalledService, HopTrust } from '../internal-tls.ts'
import { CallTable } from './call-table.ts'
import { defaultLimits, Link, type Message } from './link.ts'
import { linkProtocol } from './protocol.ts'

export interface LinkClientOptions {
  /** Base URL of the service. */
  readonly url: string
  readonly path: string
  /** Asked for with each connection. */
  readonly trust: () => HopTrust
  readonly service: CalledService
  readonly connectMs: number
  /** A service that sends nothing for so long is gone. Absent: 3 s, as its own side has it. */
  readonly silenceMs?: number | undefined
  /** The first thing on each new connection. */
  readonly onOpen?: (send: (message: Message) => void) => void
  /** A connection that was there is over, with the error that ended it; without one the service ended it. */
  readonly onClose?: (error: Error | undefined) => void
}

/** The service answers, and opens no link: it is of another kind, or of before there was this one. */
export class LinkRefused extends Error {}

export interface CallOptions {
  /** What ends the waiting for an answer; the service is told. */
  readonly signal?: AbortSignal
  readonly timeoutMs?: number
  /** See `Link.send`. */
  readonly hurry?: boolean
}

interface Call {
  readonly link: Link
  /** Nothing ends the waiting any more. */
  readonly settled: () => void
  readonly resolve: (result: Message) => void
  readonly reject: (error: unknown) => void
}

/** Calls that wait for an answer on one link; more are refused at once. */
const maxCalls = 20_000

export class LinkClient {
  readonly #options: LinkClientOptions
  readonly #calls = new CallTable<Call>()
  #link: Link | undefined
  #opening: Promise<Link> | undefined
  #closed = false

  constructor(options: LinkClientOptions) {
    this.#options = options
  }

  /** Resolves when the connection is there. @throws whatever prevents it; a PlatformError is final */
  async open(): Promise<void> {
    if (this.#link) return
    if (this.#closed) throw new Error('closed')
    this.#opening ??= this.#connect().finally(() => (this.#opening = undefined))
    await this.#opening
  }

  /**
   * To be called when the connection is there, and on that one.
   *
   * @returns what followed `done` @throws PlatformError what the service refused with, TOO_MANY_REQUESTS; anything else: the connection
   *   broke or is not there, and the call may have been carried out
   */
  async call(kind: string, args: Message, { signal, timeoutMs, hurry }: CallOptions): Promise<Message> {
    signal?.throwIfAborted()
    const link = this.#link
    if (!link) throw new Error('the connection is not there')
    if (this.#calls.size >= maxCalls)
      throw new PlatformError('TOO_MANY_REQUESTS', 'too many calls wait for an answer', { limit: maxCalls })
    const { promise, resolve, reject } = Promise.withResolvers<Message>()
    const give = (reason: unknown): void => {
      this.#calls.take(call)
      settled()
      link.send(['cancel', call])
      reject(reason)
    }
    const abort = (): void => give(signal?.reason)
    const timer = timeoutMs && setTimeout(() => give(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    const settled = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    signal?.addEventListener('abort', abort)
    const call = this.#calls.add({ link, resolve, reject, settled })
    link.send([kind, call, ...args], hurry)
    return promise
  }

  /** One way, and only while the connection is there. */
  tell(kind: string, args: Message): void {
    this.#link?.send([kind, 0, ...args])
  }

  get isOpen(): boolean {
    return this.#link !== undefined
  }

  /** Gives the connection up, with its calls; the next one is new. */
  reset(): void {
    this.#link?.end()
    this.#link = undefined
  }

  close(): void {
    this.#closed = true
    this.#link?.end()
  }

  async #connect(): Promise<Link> {
    const { silenceMs } = this.#options
    const { response, socket, head } = await upgrade(this.#options)
    try {
      if (this.#closed) throw new Error('closed')
      requireKnownProtocol(response.headers[protocolHeader]?.toString())
    } catch (error) {
      socket.destroy()
      throw error
    }
    const link: Link = new Link(
      socket,
      {
        onMessage: (message) => this.#take(message),
        onClose: (cause) => {
          if (this.#link === link) this.#link = undefined
          this.#failAll(link, new Error('the connection broke', { cause }))
          this.#options.onClose?.(cause)
        },
      },
      head,
      { ...defaultLimits, ...(silenceMs === undefined ? {} : { silenceMs }) },
    )
    this.#link = link
    this.#options.onOpen?.((message) => link.send(message))
    return link
  }

  #take([kind, number, ...rest]: Message): void {
    const call = this.#calls.take(Number(number))
    // Its caller has given up.
    if (!call) return
    call.settled()
    if (kind === 'done') call.resolve(rest)
    else call.reject(PlatformError.fromBody(rest[0]))
  }

  #failAll(link: Link, error: Error): void {
    for (const [number, call] of this.#calls.numbers()) {
      if (call.link !== link) continue
      this.#calls.take(number)
      call.settled()
      call.reject(error)
    }
  }
}

interface Upgraded {
  readonly response: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
}

const upgrade = ({ url, path, trust, service, connectMs }: LinkClientOptions): Promise<Upgraded> => {
  const { token, ca } = trust()
  const { promise, resolve, reject } = Promise.withResolvers<Upgraded>()
  const headers = {
    authorization: `Bearer ${token}`,
    connection: 'Upgrade',
    upgrade: linkProtocol,
    ...protocolHeaders,
  }
  const target = new URL(path, url)
  const common = { headers, agent: false } as const
  const request =
    ca === undefined ? requestPlain(target, common) : requestTls(target, { ...common, ca, servername: service })
  // Not a signal of the request: that would end the connection later on.
  const timer = setTimeout(() => request.destroy(new Error(`no connection within ${connectMs} ms`)), connectMs)
  request.once('close', () => clearTimeout(timer))
  request.once('upgrade', (response: IncomingMessage, socket: Duplex, head: Buffer) => {
    clearTimeout(timer)
    resolve({ response, socket, head })
  })
  request.once('response', (response) => {
    clearTimeout(timer)
    refusalOf(response, url).then(reject, reject)
  })
  request.once('error', reject)
  request.end()
  return promise
}

/** What a service that opens no link says. */
const refusalOf = async (response: IncomingMessage, url: string): Promise<Error> => {
  const said = await text(response)
  const { statusCode: status } = response
  if (status === 403 || status === 503) return PlatformError.fromBody(parse(said))
  return new LinkRefused(`the service at ${url} does not open a link: ${status}`)
}

const parse = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
