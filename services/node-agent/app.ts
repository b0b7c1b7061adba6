/** The node agent's side towards gateways and schedulers. Never listens. */
import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import { buildServer, requireBearer } from '../chassis/http-server.ts'
import { acceptLinks } from '../chassis/link/accept.ts'
import { serverTls, type ServiceTls } from '../chassis/internal-tls.ts'
import type { Logger } from '../chassis/log.ts'
import { instanceLink, livenessLink } from '../contracts/links.ts'
import type { InvocationTaker } from './node-gateway/node-gateway.ts'
import type { NodeScheduler } from './node-scheduler/node-scheduler.ts'
import type { NodeCordon } from './node-scheduler/node-cordon.ts'
import type { TermFence } from './node-scheduler/term-fence.ts'
import type { ExplainDeps } from './node-scheduler/cache/explain.ts'
import { registerExplanationRoutes } from './routes/explanations.ts'
import { instanceSession } from './routes/instance-link.ts'
import { registerInstanceRoutes } from './routes/instances.ts'
import { registerInvocationRoutes } from './routes/invocations.ts'
import { livenessSession } from './routes/liveness-link.ts'

export interface AppDeps {
  readonly logger: Logger
  readonly metrics: Registry
  /** Of gateways. */
  readonly internalToken: string
  /** Of schedulers, over their link alone. */
  readonly schedulerToken: string
  readonly gateway: InvocationTaker
  readonly scheduler: NodeScheduler
  readonly fence: TermFence
  readonly cordon: NodeCordon
  readonly explainer: ExplainDeps
  readonly notReady: () => string | undefined
  readonly tls?: ServiceTls | undefined
}

export const buildApp = ({
  logger,
  metrics,
  internalToken,
  schedulerToken,
  gateway,
  scheduler,
  fence,
  cordon,
  explainer,
  notReady,
  tls,
}: AppDeps): FastifyInstance => {
  // An invocation lasts as long as its function may; its own deadline ends it, not the server's.
  const app = buildServer({ logger, metrics, notReady, options: { requestTimeout: 0, ...serverTls(tls) } })
  requireBearer(app, internalToken)
  acceptLinks(
    app,
    { path: instanceLink, token: schedulerToken, open: () => instanceSession(scheduler, fence, cordon) },
    { path: livenessLink, token: internalToken, open: () => livenessSession },
  )
  registerInvocationRoutes(app, gateway)
  registerInstanceRoutes(app, scheduler, explainer.starter)
  registerExplanationRoutes(app, explainer)
  return app
}
