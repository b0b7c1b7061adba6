/**
 * Calls of functions to other functions: brought to a gateway, which invokes the other one, in the name of the invocation that calls. What the
 * function says of itself does not count; who it is, the gateway's own ticket says.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { Pool, type Dispatcher } from 'undici'
import { clientTls } from '../../chassis/internal-tls.ts'
import type { Logger } from '../../chassis/log.ts'
import { callHeaders, platformHeaderPrefix } from '../../contracts/calls.ts'
import { protocolHeaders } from '../../contracts/protocol.ts'
import type { CallingInvocation } from '../node-gateway/calling-invocation.ts'
import type { Gateways } from './gateways.ts'
import { refuse, type Used } from './http-proxy.ts'
import { answeredHeaders, bodyOf, passedHeaders, RefusedRequest } from './onward.ts'

export interface FunctionCall {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Of the binding. */
  readonly name: string
  /** Undefined: nothing of the function runs that a call could be part of. */
  readonly calling: CallingInvocation | undefined
  readonly used: Used
}

export interface FunctionCaller {
  /** Never rejects: what goes wrong is the function's answer. */
  forward(call: FunctionCall): Promise<void>
  close(): Promise<void>
}

export interface FunctionCallerDeps {
  readonly gateways: Gateways
  /** Bearer token of nodes. Absent: this installation has no calls. */
  readonly token: string | undefined
  /** See `clientTls`. */
  readonly ca: string | undefined
  readonly logger: Logger
}

/** As long as a gateway that is restarted may be away. */
const patienceMs = 10_000
const backoffMs = 100
const brokeOff = 'the call broke off'
const connectMs = 2_000
/** What the one who is called must be. undici takes it from the header `host` else, and that is the name that the function called. */
const called = { servername: 'gateway' } as const
/** Names are looked up too, where gateways are behind a Service; the name server may be away for a moment. */
const notFound = ['ENOTFOUND', 'EAI_AGAIN']
const neverSent = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT', ...notFound])

export const createFunctionCaller = ({ gateways, token, ca, logger }: FunctionCallerDeps): FunctionCaller => {
  const pools = new Map<string, Pool>()
  const poolOf = (url: string): Pool => {
    const known = pools.get(url)
    if (known) return known
    // The called function's own time-out bounds the answer. Gateways close idle connections after 65 s; ours are gone before that.
    const timeouts = { headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 30_000 }
    const pool = new Pool(url, {
      connections: 256,
      pipelining: 1,
      ...timeouts,
      ...clientTls(ca, called.servername, connectMs),
    })
    pools.set(url, pool)
    return pool
  }

  /** Each gateway in turn, and again, until one is there: nothing of the request was sent to those that are not. */
  const ask = async (options: Omit<Dispatcher.RequestOptions, 'body'>, body: OnceBody, signal: AbortSignal) => {
    const giveUpAt = performance.now() + patienceMs
    for (;;) {
      for (const url of gateways.inOrder()) {
        try {
          return await poolOf(url).request({ ...options, ...called, body: body.take() as never, signal })
        } catch (error) {
          if (!neverSent.has((error as NodeJS.ErrnoException).code ?? '') || body.begun) throw error
          gateways.failed(url)
        }
      }
      if (performance.now() > giveUpAt) throw new RefusedRequest(503, 'no gateway can be reached')
      await delay(backoffMs, undefined, { signal })
    }
  }

  const forward = async ({ request, response, name, calling, used }: FunctionCall): Promise<void> => {
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    try {
      const { url = '', method = 'GET' } = request
      if (!url.startsWith('/')) throw new RefusedRequest(400, 'the target of a request through a binding is a path')
      if (token === undefined) throw new RefusedRequest(503, 'this installation has no calls between functions')
      if (!calling) throw new RefusedRequest(403, 'functions are called during an invocation, and none runs here')
      const headers = { ...headersOf(request, calling), ...hopHeaders(name, token, calling) }
      const reply = await ask({ path: url, method, headers }, new OnceBody(request), gone.signal)
      const refused = reply.headers[callHeaders.error]
      const { 'x-amzn-requestid': id } = reply.headers
      if (refused === undefined) used('used', typeof id === 'string' ? { calledInvocationId: id } : {})
      else if (reply.statusCode < 500 && reply.statusCode !== 429) used('refused')
      response.writeHead(reply.statusCode, withoutPlatform(answeredHeaders(reply.headers)))
      await pipeline(reply.body, response)
    } catch (error) {
      if (gone.signal.aborted) return void response.destroy()
      const known = error instanceof RefusedRequest
      // The function is told that it did, not why.
      if (!known) logger.warn({ err: error, binding: name, traceparent: calling?.traceparent }, brokeOff)
      if (response.headersSent) return void response.destroy()
      if (known && error.status === 403) used('refused')
      refuse(response, known ? error.status : 502, `binding ${name}: ${known ? error.message : brokeOff}`)
    }
  }
  return {
    forward,
    close: async () => void (await Promise.all([...pools.values()].map((pool) => pool.destroy()))),
  }
}

/** Whether anything of it is on its way already. */
class OnceBody {
  readonly #body: IncomingMessage | undefined
  begun = false

  constructor(request: IncomingMessage) {
    this.#body = bodyOf(request)
  }

  /** Not the stream itself, which the client would destroy with a connection that never was. */
  take(): AsyncIterable<Buffer> | null {
    return this.#body ? this.#read(this.#body) : null
  }

  async *#read(body: IncomingMessage): AsyncGenerator<Buffer> {
    this.begun = true
    yield* body as AsyncIterable<Buffer>
  }
}

type Headers = Record<string, string | string[]>

const withoutPlatform = (headers: Headers): Headers =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(platformHeaderPrefix)))

/** The function's own, with the name that it called: the other one is to see it. */
const headersOf = (request: IncomingMessage, { traceparent }: CallingInvocation): Headers => ({
  ...(traceparent === undefined ? {} : { traceparent }),
  ...withoutPlatform(passedHeaders(request, new Set())),
  host: request.headers.host ?? '',
})

const hopHeaders = (name: string, token: string, { ticket, shared }: CallingInvocation): Headers => ({
  ...protocolHeaders,
  [callHeaders.token]: `Bearer ${token}`,
  [callHeaders.ticket]: ticket,
  [callHeaders.binding]: name,
  ...(shared ? { [callHeaders.shared]: '1' } : {}),
})
