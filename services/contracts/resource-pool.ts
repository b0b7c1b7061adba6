/** Rules of resource pools, groups of nodes: which functions a pool is for, and how its capacity is shared. Stack config `forkyard:pools`. */
import { Type, type Static } from 'typebox'
import { poolPattern, runtimeNames } from './function.ts'

export const tenantPattern = '^[A-Za-z0-9-_]{1,64}$'
const ByTenant = <T extends Type.TSchema>(schema: T, description: string) =>
  Type.Optional({ ...Type.Record(Type.String(), schema), type: 'object', description })

const limit = (whose: string) =>
  Type.Optional(
    Type.Object(
      {
        instances: Type.Optional(Type.Integer({ minimum: 0 })),
        memoryMiB: Type.Optional(Type.Integer({ minimum: 0 })),
      },
      {
        additionalProperties: false,
        description: `What ${whose} may hold in the pool at the same time, idle instances included (JSON object: instances, memoryMiB). Default no limit`,
      },
    ),
  )

export const ResourcePool = Type.Object(
  {
    name: Type.String({ pattern: poolPattern, description: 'As nodes name it; nodes that name none are in default' }),
    tenants: Type.Optional(
      Type.Array(Type.String({ pattern: tenantPattern }), {
        minItems: 1,
        uniqueItems: true,
        description: 'The pool belongs to these tenants (JSON array): no function of another gets in. Default all',
      }),
    ),
    runtimes: Type.Optional(
      Type.Array(Type.Enum(runtimeNames), {
        minItems: 1,
        uniqueItems: true,
        description: 'It is for functions of these runtimes alone (JSON array). Default all',
      }),
    ),
    minMemoryMiB: Type.Optional(
      Type.Integer({ minimum: 128, description: 'It is for functions from this size on, MiB' }),
    ),
    maxMemoryMiB: Type.Optional(
      Type.Integer({ minimum: 128, description: 'It is for functions up to this size, MiB' }),
    ),
    onlyChosen: Type.Optional(
      Type.Boolean({
        description: 'true: only functions that name it (tag forkyard:pool) run in it. Default false',
      }),
    ),
    weights: ByTenant(
      Type.Integer({ minimum: 1, maximum: 1000 }),
      'Shares of tenants when the pool is full (JSON object, tenant: 1 to 1000). Default 1 each',
    ),
    tenantLimit: limit('a tenant'),
    functionLimit: limit('a function'),
    reserved: ByTenant(
      Type.Object(
        { instances: Type.Integer({ minimum: 1, maximum: 10_000 }), memoryMiB: Type.Integer({ minimum: 128 }) },
        { additionalProperties: false },
      ),
      'Kept free for tenants (JSON object, tenant: {instances, memoryMiB}): so many places, each for an instance of up to memoryMiB',
    ),
  },
  { additionalProperties: false },
)
export type ResourcePool = Static<typeof ResourcePool>

/** The pool of nodes and functions of which nobody says anything else. */
export const defaultPool = 'default'
