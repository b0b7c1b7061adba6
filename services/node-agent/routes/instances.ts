/** Hop in from the scheduler: start and end instances. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { StartInstance } from '../../contracts/node.ts'
import type { NodeScheduler } from '../node-scheduler/node-scheduler.ts'
import type { SandboxStarter } from '../node-scheduler/sandbox-starter.ts'

const Params = Type.Object({ instanceId: Type.String() })

export const registerInstanceRoutes = (
  app: FastifyInstance,
  scheduler: NodeScheduler,
  starter: Pick<SandboxStarter, 'seeds' | 'checkpoints'>,
): void => {
  app.post<{ Body: StartInstance }>('/v1/instances', { schema: { body: StartInstance } }, async (request, reply) => {
    scheduler.start(request.body)
    return reply.code(202).send()
  })
  app.delete<{ Params: Static<typeof Params>; Querystring: { reason?: string } }>(
    '/v1/instances/:instanceId',
    { schema: { params: Params, querystring: Type.Object({ reason: Type.Optional(Type.String()) }) } },
    async (request, reply) => {
      scheduler.end(request.params.instanceId, request.query.reason ?? 'keep-alive')
      return reply.code(202).send()
    },
  )
  app.get('/v1/instances', async () => scheduler.reports())
  app.get('/v1/seeds', async () => starter.seeds.reports())
  app.get('/v1/checkpoints', async () => starter.checkpoints.reports())
}
