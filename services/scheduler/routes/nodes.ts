/** Hop in from operators: what the scheduler believes, and which nodes get nothing new. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { InstanceReport, NodeLabels, NodePool } from '../../contracts/node.ts'
import type { Fleet } from '../fleet.ts'
import type { Node } from '../pool.ts'

export const NodeView = Type.Object({
  nodeId: Type.String(),
  url: Type.String(),
  accepting: Type.Boolean(),
  cordoned: Type.Boolean(),
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

export const registerNodeRoutes = (app: FastifyInstance, fleet: Fleet): void => {
  app.get('/v1/nodes', { schema: { response: { 200: Type.Object({ nodes: Type.Array(NodeView) }) } } }, async () => ({
    nodes: [...fleet.nodes()].map(view),
  }))
  for (const [action, cordoned] of [
    ['cordon', true],
    ['uncordon', false],
  ] as const)
    app.post<{ Params: Static<typeof Params> }>(
      `/v1/nodes/:nodeId/${action}`,
      { schema: { params: Params } },
      async (request, reply) => {
        const { nodeId } = request.params
        if (!fleet.cordon(nodeId, cordoned)) throw new PlatformError('NOT_FOUND', `no node ${nodeId} reports`)
        return reply.code(204).send()
      },
    )
}

const view = (node: Node): NodeView => ({
  nodeId: node.id,
  url: node.url,
  accepting: node.accepting,
  cordoned: node.cordoned,
  capacity: node.capacity,
  pool: node.nodePool,
  labels: node.labels,
  usedMemoryMiB: node.usedMemoryMiB,
  cacheMiB: node.cache.heldMiB,
  leases: [...node.pools.values()].reduce((sum, pool) => sum + pool.leases.size, 0),
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
