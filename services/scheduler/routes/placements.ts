/** Hop in from the gateway: a place for one invocation, what that would be, and the end of its lease. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { Explanation, Placement, PlacementRequest } from '../../contracts/placement.ts'
import type { Dispatcher } from '../dispatcher.ts'
import { explain } from '../explain.ts'
import type { Fleet } from '../fleet.ts'
import type { SchedulerMetrics } from '../metrics.ts'

const Params = Type.Object({ invocationId: Type.String() })

export const registerPlacementRoutes = (
  app: FastifyInstance,
  dispatcher: Dispatcher,
  fleet: Fleet,
  metrics: SchedulerMetrics,
): void => {
  app.post<{ Body: PlacementRequest; Reply: Placement }>(
    '/v1/placements',
    { schema: { body: PlacementRequest, response: { 200: Placement } } },
    async (request, reply) => {
      const from = performance.now()
      try {
        return await dispatcher.place(request.body, () => reply.raw.destroyed)
      } finally {
        metrics.placementSeconds.observe((performance.now() - from) / 1000)
      }
    },
  )
  app.post<{ Body: PlacementRequest; Reply: Explanation }>(
    '/v1/explanations',
    { schema: { body: PlacementRequest, response: { 200: Explanation } } },
    async (request) => explain(fleet, request.body, Date.now()),
  )
  // Idempotent: a lease that is over stays over.
  app.delete<{ Params: Static<typeof Params> }>(
    '/v1/placements/:invocationId',
    { schema: { params: Params } },
    async (request, reply) => {
      fleet.release(request.params.invocationId)
      return reply.code(204).send()
    },
  )
}
