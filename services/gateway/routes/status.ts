/** What operators see of the installation. */
import { Type } from 'typebox'
import type { GatewayDeps } from '../deps.ts'
import { operation, type AnyOperation } from './operation.ts'

const Node = Type.Object({
  nodeId: Type.String(),
  accepting: Type.Boolean(),
  capacity: Type.Object({ memoryMiB: Type.Integer(), instances: Type.Integer(), cpus: Type.Integer() }),
})

export const statusOperations = ({ scheduler }: GatewayDeps): AnyOperation[] => [
  operation({
    id: 'GetStatus',
    summary: 'The nodes and their instances, as the scheduler sees them',
    method: 'GET',
    url: '/forkyard/v1/status',
    status: 200,
    reply: Type.Object({ nodes: Type.Array(Node) }),
    handle: async () => ({ nodes: await scheduler.nodes() }),
  }),
]
