import { Type, type Static } from 'typebox'
import { ServiceTls } from '../chassis/internal-tls.ts'
import { NatsConfig } from '../chassis/nats.ts'
import { VerifyingKeys } from '../chassis/signing.ts'
import { ResourcePool } from '../contracts/resource-pool.ts'

export const SchedulerConfig = Type.Object(
  {
    listen: Type.Object({ host: Type.String(), port: Type.Integer({ minimum: 0, maximum: 65_535 }) }),
    /** Unique among the installation's schedulers, and the same after a restart. Absent: another one with each run. */
    id: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9-_.]{1,64}$' })),
    /** Bearer token of gateways. */
    internalToken: Type.String({ minLength: 32 }),
    /** Bearer token for nodes. */
    nodeToken: Type.String({ minLength: 32 }),
    /** Absent: plain connections, for an installation on one machine. */
    tls: Type.Optional(ServiceTls),
    nats: NatsConfig,
    /** Whose signature the records of nodes that joined must have. Absent: none can join. */
    verifyingKeys: Type.Optional(VerifyingKeys),
    /** A node that has not reported for so long gets no placements. */
    nodeTimeoutMs: Type.Integer({ minimum: 1000, default: 5_000 }),
    /** Rules of the pools of nodes. None: all functions run in `default`, or in the pool that they chose. */
    pools: Type.Array(ResourcePool, { default: [] }),
    logLevel: Type.String({ default: 'info' }),
  },
  { additionalProperties: false },
)
export type SchedulerConfig = Static<typeof SchedulerConfig>
