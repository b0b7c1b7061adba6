/** The Fastify server that every service stands on: time-outs, one error handler, health, metrics. */
import fastify, {
  LogController,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { PlatformError } from '../contracts/errors.ts'
import { protocolHeader, requireKnownProtocol } from '../contracts/protocol.ts'
import { isBearer } from './bearer.ts'
import type { Logger } from './log.ts'

export interface ServerDeps {
  readonly logger: Logger
  readonly metrics: Registry
  /** Names what is not ready yet, or nothing. Feeds `/readyz`. */
  readonly notReady: () => string | undefined
  readonly bodyLimit?: number
  /** How an error looks to callers. Default: status and `ErrorBody` of its row in the table. */
  readonly errorReply?: (error: unknown, requestId: string) => ErrorReply
  readonly options?: Partial<FastifyServerOptions>
}

export interface ErrorReply {
  readonly error: PlatformError
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

export const createMetrics = (): Registry => {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  return registry
}

/** Fastify leaves `requestTimeout` at 0 and coerces and strips silently; this server does neither. */
export const buildServer = (deps: ServerDeps): FastifyInstance => {
  const { logger, metrics, notReady, bodyLimit, errorReply = ownErrorReply, options } = deps
  const sendError = (thrown: unknown, request: FastifyRequest, reply: FastifyReply) => {
    const { error, status, headers, body } = errorReply(thrown, request.id)
    if (status >= 500) request.log.error({ err: thrown, code: error.code, requestId: request.id }, error.message)
    return reply.code(status).headers(headers).send(body)
  }
  const app = fastify({
    loggerInstance: logger as never,
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: 60_000,
    keepAliveTimeout: 65_000,
    connectionTimeout: 0,
    http: { headersTimeout: 15_000, connectionsCheckingInterval: 2_000 },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: true, allErrors: true } },
    ...(bodyLimit === undefined ? {} : { bodyLimit }),
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) =>
      void sendError(error, request, reply),
    ...options,
  } as FastifyServerOptions) as unknown as FastifyInstance
  app.setErrorHandler(sendError)
  app.setNotFoundHandler((request, reply) => {
    const operation = `${request.method} ${request.url.split('?')[0]}`
    return sendError(new PlatformError('UNKNOWN_OPERATION', `no such operation: ${operation}`), request, reply)
  })
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const missing = notReady()
    return missing === undefined ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', missing })
  })
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()))
  return app
}

const ownErrorReply = (thrown: unknown): ErrorReply => {
  const error = toPlatformError(thrown)
  return { error, status: error.entry.status, headers: {}, body: error.toBody() }
}

/** Whatever was thrown, as an entry of the table. What nobody foresaw becomes INTERNAL and tells nothing of the inside. */
export const toPlatformError = (error: unknown): PlatformError => {
  if (error instanceof PlatformError) return error
  const fromFastify = error as { code?: string; statusCode?: number; message?: string; validation?: unknown }
  if (fromFastify.code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new PlatformError('REQUEST_TOO_LARGE', fromFastify.message ?? '')
  if (fromFastify.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new PlatformError('UNSUPPORTED_MEDIA_TYPE', fromFastify.message ?? '')
  if (fromFastify.validation || (fromFastify.statusCode ?? 500) < 500)
    return new PlatformError('INVALID_REQUEST', fromFastify.message ?? 'the request is malformed')
  return new PlatformError('INTERNAL', 'an internal error occurred', undefined, { cause: error })
}

/** Internal hops carry `authorization: Bearer <token>`, another one for each pair of roles, and their version of what is spoken there. */
export const requireBearer = (app: FastifyInstance, token: string): void => {
  const open = new Set(['/healthz', '/readyz', '/metrics'])
  app.addHook('onRequest', async (request) => {
    if (open.has(request.url)) return
    if (!isBearer(request.headers.authorization, token))
      throw new PlatformError('FORBIDDEN', 'this hop needs the token of whoever may call it')
    const said = request.headers[protocolHeader]
    requireKnownProtocol(Array.isArray(said) ? said.join() : said)
  })
}

const idleSweepMs = 50

/**
 * Takes no new connections, lets requests finish, closes each connection once it is idle. (Node.js closes those that are idle at
 * the beginning; one that becomes idle later would hold the close for its whole keep-alive time.)
 *
 * @param cutAfterMs what is still open then is cut off.
 */
export const drainServer = async (app: FastifyInstance, cutAfterMs: number): Promise<void> => {
  const sweep = setInterval(() => app.server.closeIdleConnections(), idleSweepMs)
  const cut = setTimeout(() => app.server.closeAllConnections(), cutAfterMs)
  try {
    await app.close()
  } finally {
    clearInterval(sweep)
    clearTimeout(cut)
  }
}
