/** Tags of a function; three of them set how its instances are used. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import type { GatewayDeps } from '../deps.ts'
import { withTags } from '../function-record.ts'
import { findRecord, targetOf, type Target } from '../lookup.ts'
import { requirePool } from '../pools.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Variables } from './views.ts'

export const Tags = Type.Record(Type.String(), Type.String())
const Resource = Type.Object({ Resource: Type.String({ minLength: 1, description: 'ARN of the function' }) })

/** @throws PlatformError INVALID_REQUEST */
export const checkTags = (tags: Readonly<Record<string, string>>): void => {
  for (const [key, value] of Object.entries(tags)) {
    const problem =
      key.length === 0 || key.length > 128
        ? 'Tag keys have 1 to 128 characters'
        : value.length > 256
          ? 'Tag values have at most 256 characters'
          : /^aws:/i.test(key)
            ? 'Tag keys must not begin with aws:'
            : undefined
    if (problem) throw new PlatformError('INVALID_REQUEST', `${problem}: '${key.slice(0, 128)}'`)
  }
}

export const tagOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const resource = (tenant: string, arn: string): Target => {
    if (!arn.startsWith('arn:')) throw new PlatformError('INVALID_REQUEST', `'${arn.slice(0, 256)}' is no function ARN`)
    const target = targetOf(deps, tenant, arn)
    if (target.qualifier === undefined) return target
    throw new PlatformError(
      'INVALID_REQUEST',
      'Tags on function aliases and versions are not supported. Please specify a function ARN.',
    )
  }
  return [
    operation({
      id: 'ListTags',
      summary: 'Tags of a function',
      method: 'GET',
      url: '/2017-03-31/tags/:Resource',
      params: Resource,
      status: 200,
      reply: Type.Object({ Tags: Variables }),
      handle: async ({ caller, params }) => ({
        Tags: (await findRecord(registry, resource(caller.tenant, params.Resource))).tags,
      }),
    }),
    operation({
      id: 'TagResource',
      summary: 'Adds tags or changes their values',
      method: 'POST',
      url: '/2017-03-31/tags/:Resource',
      params: Resource,
      body: Type.Object({ Tags }),
      status: 204,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, body }) => {
        const { tenant, name } = resource(caller.tenant, params.Resource)
        checkTags(body.Tags)
        await registry.update(tenant, name, (record) =>
          requirePool(config.pools, withTags(record, { ...record.tags, ...body.Tags })),
        )
      },
    }),
    operation({
      id: 'UntagResource',
      summary: 'Removes tags',
      method: 'DELETE',
      url: '/2017-03-31/tags/:Resource',
      params: Resource,
      query: Type.Object({ tagKeys: Type.Array(Type.String(), { minItems: 1, maxItems: 200 }) }),
      status: 204,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query }) => {
        const { tenant, name } = resource(caller.tenant, params.Resource)
        const gone = new Set(query.tagKeys)
        await registry.update(tenant, name, (record) =>
          requirePool(
            config.pools,
            withTags(record, Object.fromEntries(Object.entries(record.tags).filter(([key]) => !gone.has(key)))),
          ),
        )
      },
    }),
  ]
}
