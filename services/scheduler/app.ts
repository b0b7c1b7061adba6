/** The scheduler's side towards gateways and operators: links and routes over a fleet and a dispatcher. Never listens. */
import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import { buildServer, requireBearer } from '../chassis/http-server.ts'
import { acceptLinks } from '../chassis/link/accept.ts'
import { serverTls, type ServiceTls } from '../chassis/internal-tls.ts'
import type { Logger } from '../chassis/log.ts'
import { placementLink } from '../contracts/links.ts'
import type { ClaimBook } from './claim-book.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { Fleet } from './fleet.ts'
import type { SchedulerMetrics } from './metrics.ts'
import type { NodeKeeper } from './node-keeper.ts'
import { registerExplanationRoutes } from './routes/explanations.ts'
import { registerNodeRoutes } from './routes/nodes.ts'
import { placementSession } from './routes/placement-link.ts'
import { registerProvisionedRoutes } from './routes/provisioned.ts'

export interface AppDeps {
  readonly logger: Logger
  readonly registry: Registry
  readonly internalToken: string
  readonly fleet: Fleet
  readonly dispatcher: Dispatcher
  readonly keeper: NodeKeeper
  readonly claims: ClaimBook
  readonly metrics: SchedulerMetrics
  /** Somebody told of a term. */
  readonly heardOf: (term: number) => void
  readonly notReady: () => string | undefined
  readonly tls?: ServiceTls | undefined
}

export const buildApp = ({
  logger,
  registry,
  internalToken,
  fleet,
  dispatcher,
  keeper,
  claims,
  metrics,
  heardOf,
  notReady,
  tls,
}: AppDeps): FastifyInstance => {
  const app = buildServer({ logger, metrics: registry, notReady, bodyLimit: 64 * 1024, options: serverTls(tls) })
  requireBearer(app, internalToken)
  acceptLinks(app, {
    path: placementLink,
    token: internalToken,
    open: () => placementSession(dispatcher, heardOf, metrics.placementSeconds, claims),
  })
  registerExplanationRoutes(app, fleet)
  registerNodeRoutes(app, fleet, keeper)
  registerProvisionedRoutes(app, dispatcher)
  return app
}
