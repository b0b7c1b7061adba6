/** Hop in from the gateway and from operators: what is held and why. */
import type { FastifyInstance } from 'fastify'
import { NodeExplanation } from '../../contracts/node.ts'
import { RevisionRef } from '../../contracts/placement.ts'
import { explainRevision, type ExplainDeps } from '../node-scheduler/cache/explain.ts'

export const registerExplanationRoutes = (app: FastifyInstance, deps: ExplainDeps): void => {
  app.post<{ Body: RevisionRef; Reply: NodeExplanation }>(
    '/v1/explanations',
    { schema: { body: RevisionRef, response: { 200: NodeExplanation } } },
    async (request) => explainRevision(deps, request.body),
  )
  // The last decision with the whole input that it was made from: enough to replay it.
  app.get('/v1/cache', async () => ({
    ...deps.plan.last,
    ...deps.cache.held,
    prepared: deps.starter.prepared.total,
    slots: deps.starter.slotIds,
  }))
}
