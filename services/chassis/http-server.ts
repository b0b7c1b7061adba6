/** The Fastify server that every service stands on: time-outs, one error handler, health, metrics. */
import { timingSafeEqual } from 'node:crypto'
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { PlatformError } from '../contracts/errors.ts'
import type { Logger } from './log.ts'

export interface ServerDeps {
  readonly logger: Logger
  readonly metrics: Registry
  /** Names what is not ready yet, or nothing. Feeds `/readyz`. */
  readonly notReady: () => string | undefined
  readonly bodyLimit?: number
  readonly options?: Partial<FastifyServerOptions>
}

export const createMetrics = (): Registry => {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  return registry
}

/** Fastify leaves `requestTimeout` at 0 and coerces and strips silently; this server does neither. */
export const buildServer = ({ logger, metrics, notReady, bodyLimit, options }: ServerDeps): FastifyInstance => {
  const app = fastify({
    loggerInstance: logger as never,
    disableRequestLogging: true,
    requestTimeout: 60_000,
    keepAliveTimeout: 65_000,
    connectionTimeout: 0,
    http: { headersTimeout: 15_000, connectionsCheckingInterval: 2_000 },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: true, allErrors: true } },
    ...(bodyLimit === undefined ? {} : { bodyLimit }),
    ...options,
  } as FastifyServerOptions) as unknown as FastifyInstance
  app.setErrorHandler(async (error, request, reply) => {
    const known = toPlatformError(error)
    if (known.entry.status >= 500)
      request.log.error({ err: error, code: known.code, requestId: request.id }, known.message)
    await reply.code(known.entry.status).send(known.toBody())
  })
  app.setNotFoundHandler(async (request, reply) => {
    const error = new PlatformError(
      'UNKNOWN_OPERATION',
      `no such operation: ${request.method} ${request.url.split('?')[0]}`,
    )
    await reply.code(error.entry.status).send(error.toBody())
  })
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const missing = notReady()
    return missing === undefined ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', missing })
  })
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()))
  return app
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

/** Internal hops carry `authorization: Bearer <token>`. Compared in constant time. */
export const requireBearer = (app: FastifyInstance, token: string): void => {
  const wanted = Buffer.from(`Bearer ${token}`)
  const open = new Set(['/healthz', '/readyz', '/metrics'])
  app.addHook('onRequest', async (request) => {
    if (open.has(request.url)) return
    const given = Buffer.from(request.headers.authorization ?? '')
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
      throw new PlatformError('FORBIDDEN', 'this hop needs the token of the installation')
  })
}
