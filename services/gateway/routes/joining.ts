/** Which machines may become nodes, and which are: for operators. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { poolPattern } from '../../contracts/function.ts'
import { NodeLabels } from '../../contracts/node.ts'
import { principalArn } from '../access/policy.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Joining } from '../joining/joining.ts'
import { operation, type AnyOperation } from './operation.ts'

const text = Type.String()
const Named = Type.Object({ NodeId: Type.String({ pattern: '^[A-Za-z0-9-_]{1,64}$' }) })
const Wish = Type.Object({
  ttlSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 86_400, description: 'Default 600' })),
  pool: Type.Optional(Type.String({ pattern: poolPattern })),
  labels: Type.Optional(NodeLabels),
})
const Made = Type.Object({ tokenId: text, token: text, expiresAt: text })
const NodeView = Type.Object({
  nodeId: text,
  url: text,
  pool: text,
  labels: Type.Record(text, text),
  joinedAt: text,
  by: text,
})
const defaultTtlSeconds = 600

export const joiningOperations = ({ joining }: Pick<GatewayDeps, 'joining'>): AnyOperation[] => {
  /** @throws PlatformError INVALID_REQUEST */
  const wanted = (): Joining => {
    if (joining) return joining
    throw new PlatformError('INVALID_REQUEST', 'no machine can join this installation: forkyard:joinFrom is not set')
  }
  return [
    operation({
      id: 'CreateJoinToken',
      summary: 'Makes a token with which one machine may join as a node; it is shown once',
      method: 'POST',
      url: '/forkyard/v1/node-tokens',
      body: Wish,
      status: 201,
      reply: Made,
      handle: async ({ caller: { accessKey }, body }) => {
        const { ttlSeconds = defaultTtlSeconds, pool = 'default', labels = {} } = body
        const by = principalArn(accessKey.tenant, accessKey.principal)
        const { expiresAt, ...made } = await wanted().makeToken({ ttlMs: ttlSeconds * 1000, pool, labels, by })
        return { ...made, expiresAt: new Date(expiresAt).toISOString() }
      },
    }),
    operation({
      id: 'ListJoinedNodes',
      summary: 'Nodes that joined by a token',
      method: 'GET',
      url: '/forkyard/v1/joined-nodes',
      status: 200,
      reply: Type.Object({ nodes: Type.Array(NodeView) }),
      handle: async () => ({
        nodes: wanted()
          .nodes()
          .map(({ nodeId, url, pool, labels, joinedAt, by }) => ({ nodeId, url, pool, labels, joinedAt, by }))
          .toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1)),
      }),
    }),
    operation({
      id: 'RemoveJoinedNode',
      summary: 'Drains a node that joined, if it can be told, and deals with it no longer',
      method: 'DELETE',
      url: '/forkyard/v1/joined-nodes/:NodeId',
      params: Named,
      status: 204,
      handle: async ({ params }) => wanted().remove(params.NodeId),
    }),
  ]
}
