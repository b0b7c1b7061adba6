/** The gateway's HTTP side: the Lambda API, Forkyard's own operations, function URLs. Never listens. */
import { randomUUID } from 'node:crypto'
import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { buildServer } from '../chassis/http-server.ts'
import { toAwsReply } from './aws-errors.ts'
import type { GatewayDeps } from './deps.ts'
import { createUrlHandler } from './function-url/handle.ts'
import { urlIdReader } from './function-url/host.ts'
import { createEntry, refuseUnparsed } from './http-entry.ts'
import { accountOperations } from './routes/account.ts'
import { aliasOperations } from './routes/aliases.ts'
import { auditOperations } from './routes/audit.ts'
import { codeOperations } from './routes/code-download.ts'
import { concurrencyOperations } from './routes/concurrency.ts'
import { deadLetterOperations } from './routes/dead-letters.ts'
import { eventInvokeOperations } from './routes/event-invoke-configs.ts'
import { explainOperations } from './routes/explain.ts'
import { functionOperations } from './routes/functions.ts'
import { invokeOperations } from './routes/invoke.ts'
import { invokeStreamOperations } from './routes/invoke-stream.ts'
import { joiningOperations } from './routes/joining.ts'
import { logOperations } from './routes/logs.ts'
import { bindingOperations } from './routes/bindings.ts'
import { networkPolicyOperations } from './routes/network-policy.ts'
import { nodeOperations } from './routes/nodes.ts'
import { openApiOptions } from './routes/openapi.ts'
import { policyOperations } from './routes/policies.ts'
import { principalOperations } from './routes/principals.ts'
import { provisionedOperations } from './routes/provisioned-concurrency.ts'
import { registerOperations, useSchemas } from './routes/operation.ts'
import { statusOperations } from './routes/status.ts'
import { tagOperations } from './routes/tags.ts'
import { updateOperations } from './routes/updates.ts'
import { urlConfigOperations } from './routes/url-configs.ts'
import { versionOperations } from './routes/versions.ts'

export const buildApp = (deps: GatewayDeps): FastifyInstance => {
  const { config, logger, metrics, metricsRegistry, notReady } = deps
  const { limits } = config
  const onFunctionUrl = createUrlHandler(deps)
  const urlIdOf = urlIdReader(config.urlDomain)
  const app = buildServer({
    logger,
    metrics: metricsRegistry,
    notReady,
    errorReply: toAwsReply,
    options: {
      genReqId: () => randomUUID(),
      exposeHeadRoutes: false,
      // A rolling restart refuses nobody: what comes on connections that are open is served, and then they are closed.
      return503OnClosing: false,
      routerOptions: { ignoreTrailingSlash: true, maxParamLength: 2048 },
      serverFactory: (handler) => createEntry(handler, { requestMs: limits.requestMs, urlIdOf, onFunctionUrl }),
      clientErrorHandler: (error, socket) => refuseUnparsed(error, socket),
    },
  })
  useSchemas(app)
  // Bodies are read by the operations, after the head has said who calls.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.decorateRequest('receivedAt', 0)
  app.decorateRequest('authMs', 0)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-amzn-requestid', request.id)
  })
  app.addHook('onSend', async (request) => {
    // A reader that takes nothing is closed; Node sets its own idle time again when the reply is out.
    request.raw.socket.setTimeout(limits.stalledMs)
  })
  app.addHook('onResponse', async (request, reply) => {
    const operation = request.routeOptions.config?.operation ?? 'none'
    metrics.requests.inc({ operation, status: String(reply.raw.statusCode) })
  })
  void app.register(swagger, openApiOptions(config))
  void app.register(async (scope) => {
    registerOperations(scope, deps, [
      ...functionOperations(deps),
      ...updateOperations(deps),
      ...versionOperations(deps),
      ...aliasOperations(deps),
      ...urlConfigOperations(deps),
      ...eventInvokeOperations(deps),
      ...concurrencyOperations(deps),
      ...provisionedOperations(deps),
      ...tagOperations(deps),
      ...accountOperations(deps),
      ...policyOperations(deps),
      ...principalOperations(deps),
      ...invokeOperations(deps),
      ...invokeStreamOperations(deps),
      ...statusOperations(deps),
      ...nodeOperations(deps),
      ...joiningOperations(deps),
      ...explainOperations(deps),
      ...networkPolicyOperations(deps),
      ...bindingOperations(deps),
      ...logOperations(deps),
      ...auditOperations(deps),
      ...deadLetterOperations(deps),
      ...codeOperations(deps),
    ])
    scope.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  })
  return app
}
