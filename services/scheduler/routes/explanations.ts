/** Hop in from the gateways: what a placement would be. Changes nothing. */
import type { FastifyInstance } from 'fastify'
import { Explanation, PlacementRequest } from '../../contracts/placement.ts'
import { explain } from '../explain.ts'
import type { Fleet } from '../fleet.ts'

export const registerExplanationRoutes = (app: FastifyInstance, fleet: Fleet): void => {
  app.post<{ Body: PlacementRequest; Reply: Explanation }>(
    '/v1/explanations',
    { schema: { body: PlacementRequest, response: { 200: Explanation } } },
    async (request) => explain(fleet.view, request.body, Date.now()),
  )
}
