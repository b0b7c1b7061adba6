/** Hop in from operators: what is here. */
import type { FastifyInstance } from 'fastify'
import type { NodeScheduler } from '../node-scheduler/node-scheduler.ts'
import type { SandboxStarter } from '../node-scheduler/sandbox-starter.ts'

export const registerInstanceRoutes = (
  app: FastifyInstance,
  scheduler: Pick<NodeScheduler, 'reports'>,
  starter: Pick<SandboxStarter, 'seeds' | 'checkpoints'>,
): void => {
  app.get('/v1/instances', async () => scheduler.reports())
  app.get('/v1/seeds', async () => starter.seeds.reports())
  app.get('/v1/checkpoints', async () => starter.checkpoints.reports())
}
