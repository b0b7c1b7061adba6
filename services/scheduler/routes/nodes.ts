/** Hop in from operators: what the scheduler believes, and which nodes get nothing new. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { Cordon, InstanceReport, NodeLabels, NodePool } from '../../contracts/node.ts'
import type { Fleet } from '../fleet.ts'
import type { NodeKeeper } from '../node-keeper.ts'
import type { Node } from '../pool.ts'

export const NodeView = Type.Object({
  nodeId: Type.String(),
  url: Type.String(),
  accepting: Type.Boolean(),
  cordoned: Type.Boolean(),
  cordon: Type.Optional(Cordon),
  /** Why it would be cordoned, were it not the last node of its pool that takes starts. */
  unfit: Type.Optional(Type.String()),
  capacity: Type.Object({ memoryMiB: Type.Integer(), instances: Type.Integer(), cpus: Type.Integer() }),
  pool: NodePool,
  labels: NodeLabels,
  usedMemoryMiB: Type.Integer(),
  /** Held for starts to come, beside the instances. */
  cacheMiB: Type.Integer(),
  leases: Type.Integer(),
  /** Epoch milliseconds of the last report. */
  lastSeen: Type.Integer(),
  instances: Type.Array(InstanceReport),
})
export type NodeView = Static<typeof NodeView>

const Params = Type.Object({ nodeId: Type.String() })
const Reason = Type.Object(
  { reason: Type.String({ maxLength: 500, default: 'cordoned by hand' }) },
  { additionalProperties: false },
)

type NodeRequest = { Params: Static<typeof Params>; Body: Static<typeof Reason> }

export const registerNodeRoutes = (app: FastifyInstance, fleet: Fleet, keeper: NodeKeeper): void => {
  app.get('/v1/nodes', { schema: { response: { 200: Type.Object({ nodes: Type.Array(NodeView) }) } } }, async () => ({
    nodes: [...fleet.nodes()].map(view),
  }))
  const route = (action: string, carryOut: (nodeId: string, reason: string) => Promise<void>): void => {
    const schema = { params: Params, body: Reason }
    app.post<NodeRequest>(`/v1/nodes/:nodeId/${action}`, { schema }, async ({ params, body }, reply) => {
      await carryOut(params.nodeId, body.reason)
      return reply.code(204).send()
    })
  }
  route('cordon', (nodeId, reason) => keeper.cordon(nodeId, 'operator', reason))
  route('drain', (nodeId, reason) => keeper.drain(nodeId, reason))
  route('uncordon', (nodeId) => keeper.uncordon(nodeId))
}

const view = (node: Node): NodeView => ({
  nodeId: node.id,
  url: node.url,
  accepting: node.accepting,
  cordoned: node.cordon !== undefined,
  ...(node.cordon ? { cordon: node.cordon } : {}),
  ...(node.unfit === undefined ? {} : { unfit: node.unfit }),
  capacity: node.capacity,
  pool: node.nodePool,
  labels: node.labels,
  usedMemoryMiB: node.usedMemoryMiB,
  cacheMiB: node.cache.heldMiB,
  leases: [...node.pools.values()].reduce((sum, pool) => sum + pool.leases.length, 0),
  lastSeen: node.lastSeen,
  instances: [...node.instances.values()].map(
    ({ id, pool, memoryMiB, policy, state, inFlight, idleSince, keepAliveMs }) => ({
      instanceId: id,
      revision: pool.revision,
      memoryMiB,
      policy,
      state,
      inFlight,
      ...(state === 'idle' ? { idleSince } : {}),
      ...(state === 'idle' && keepAliveMs !== undefined ? { keepAliveMs } : {}),
    }),
  ),
})
