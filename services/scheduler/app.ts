/** The scheduler's HTTP side: routes over a fleet and a dispatcher. Never listens. */
import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import { buildServer, requireBearer } from '../chassis/http-server.ts'
import { serverTls, type ServiceTls } from '../chassis/internal-tls.ts'
import type { Logger } from '../chassis/log.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { Fleet } from './fleet.ts'
import type { SchedulerMetrics } from './metrics.ts'
import { registerNodeRoutes } from './routes/nodes.ts'
import { registerPlacementRoutes } from './routes/placements.ts'

export interface AppDeps {
  readonly logger: Logger
  readonly registry: Registry
  readonly internalToken: string
  readonly fleet: Fleet
  readonly dispatcher: Dispatcher
  readonly metrics: SchedulerMetrics
  readonly notReady: () => string | undefined
  readonly tls?: ServiceTls | undefined
}

export const buildApp = ({
  logger,
  registry,
  internalToken,
  fleet,
  dispatcher,
  metrics,
  notReady,
  tls,
}: AppDeps): FastifyInstance => {
  const app = buildServer({ logger, metrics: registry, notReady, bodyLimit: 64 * 1024, options: serverTls(tls) })
  requireBearer(app, internalToken)
  registerPlacementRoutes(app, dispatcher, fleet, metrics)
  registerNodeRoutes(app, fleet)
  return app
}
