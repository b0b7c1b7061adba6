/** What operators do with nodes: nothing new for one, everything on it ended, and back. */
import { Type } from 'typebox'
import type { GatewayDeps } from '../deps.ts'
import type { NodeAction } from '../scheduler-client.ts'
import { operation, type AnyOperation } from './operation.ts'

const Named = Type.Object({ NodeId: Type.String({ pattern: '^[A-Za-z0-9-_]{1,64}$' }) })
const Reason = Type.Object({ reason: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })) })

export const nodeOperations = ({ scheduler }: Pick<GatewayDeps, 'scheduler'>): AnyOperation[] => {
  const about = (id: string, action: NodeAction, summary: string): AnyOperation =>
    operation({
      id,
      summary,
      method: 'POST',
      url: `/forkyard/v1/nodes/:NodeId/${action}`,
      params: Named,
      body: Reason,
      status: 204,
      handle: async ({ params, body }) => scheduler.tellNode(params.NodeId, action, body.reason ?? 'by hand'),
    })
  return [
    about('CordonNode', 'cordon', 'Gives the node nothing new, until it is uncordoned; it keeps what it has'),
    about('DrainNode', 'drain', 'Cordons the node and ends its instances, busy ones after their requests'),
    about('UncordonNode', 'uncordon', 'Gives the node work again'),
  ]
}
