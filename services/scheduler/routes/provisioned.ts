/** Hop in from the gateways: how far the instances of provisioned versions are. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { ProvisionedState } from '../../contracts/claims.ts'
import { RevisionRef } from '../../contracts/placement.ts'
import type { Dispatcher } from '../dispatcher.ts'

const Body = Type.Array(RevisionRef, { maxItems: 1000 })
const Reply = Type.Array(ProvisionedState)

/** States in the order of the revisions. @throws PlatformError NOT_LEADER: only who leads knows */
export const registerProvisionedRoutes = (
  app: FastifyInstance,
  dispatcher: Pick<Dispatcher, 'provisioned' | 'requireLead'>,
): void => {
  app.post<{ Body: Static<typeof Body>; Reply: Static<typeof Reply> }>(
    '/v1/provisioned',
    { schema: { body: Body, response: { 200: Reply } } },
    async (request) => {
      dispatcher.requireLead()
      return request.body.map((revision) => dispatcher.provisioned(revision))
    },
  )
}
