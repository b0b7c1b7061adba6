/** Aliases: names for versions, with weights to shift traffic. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { functionArn } from '../../contracts/function.ts'
import { aliasOf, withAlias, withoutAlias } from '../alias-record.ts'
import type { GatewayDeps } from '../deps.ts'
import { guardRevision } from '../function-record.ts'
import { aliasView } from '../function-view.ts'
import { findRecord, unqualified } from '../lookup.ts'
import { pageOf, pageQuery } from '../pages.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Alias, Description, listOf, Named, named, RevisionId } from './views.ts'

const Name = Type.String({ minLength: 1, maxLength: 128, pattern: '^(?!\\d+$)[a-zA-Z0-9-_]+$' })
const FunctionVersion = Type.String({ pattern: '^(\\$LATEST|[1-9][0-9]{0,9})$' })
const RoutingConfig = Type.Optional(
  Type.Union([
    Type.Object({
      AdditionalVersionWeights: Type.Optional(
        Type.Union([Type.Record(Type.String(), Type.Number({ minimum: 0, maximum: 1 })), Type.Null()]),
      ),
    }),
    Type.Null(),
  ]),
)
/** Any name: one that is none is simply not found. */
const OneAlias = Type.Object({ ...named, Name: Type.String({ minLength: 1, maxLength: 128 }) })
const url = '/2015-03-31/functions/:FunctionName/aliases'

export const aliasOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region } = config
  const target = (tenant: string, functionName: string) => unqualified(deps, tenant, functionName)
  return [
    operation({
      id: 'CreateAlias',
      summary: 'Names a version',
      method: 'POST',
      url,
      params: Named,
      body: Type.Object({ Name, FunctionVersion, Description, RoutingConfig }),
      status: 201,
      reply: Alias,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, body }) => {
        const { tenant, name } = target(caller.tenant, params.FunctionName)
        const record = await registry.update(tenant, name, (before) => {
          if (Object.hasOwn(before.aliases, body.Name))
            throw new PlatformError(
              'ALREADY_EXISTS',
              `Alias already exists: ${functionArn(region, tenant, name, body.Name)}`,
            )
          const change = {
            functionVersion: body.FunctionVersion,
            description: body.Description ?? undefined,
            weights: body.RoutingConfig?.AdditionalVersionWeights ?? undefined,
          }
          return withAlias(before, body.Name, undefined, change, region)
        })
        return aliasView(region, record, aliasOf(record, body.Name, region))
      },
    }),
    operation({
      id: 'GetAlias',
      summary: 'An alias',
      method: 'GET',
      url: `${url}/:Name`,
      params: OneAlias,
      status: 200,
      reply: Alias,
      handle: async ({ caller, params }) => {
        const record = await findRecord(registry, target(caller.tenant, params.FunctionName))
        return aliasView(region, record, aliasOf(record, params.Name, region))
      },
    }),
    operation({
      id: 'UpdateAlias',
      summary: 'Points an alias elsewhere; what is not given stays',
      method: 'PUT',
      url: `${url}/:Name`,
      params: OneAlias,
      body: Type.Object({
        FunctionVersion: Type.Optional(Type.Union([FunctionVersion, Type.Null()])),
        Description,
        RoutingConfig,
        RevisionId,
      }),
      status: 200,
      reply: Alias,
      errors: ['ALREADY_EXISTS', 'REVISION_MISMATCH'],
      handle: async ({ caller, params, body }) => {
        const { tenant, name } = target(caller.tenant, params.FunctionName)
        const record = await registry.update(tenant, name, (before) => {
          const alias = aliasOf(before, params.Name, region)
          guardRevision(alias.revisionId, body.RevisionId ?? undefined)
          const change = {
            functionVersion: body.FunctionVersion ?? undefined,
            description: body.Description ?? undefined,
            weights: body.RoutingConfig ? (body.RoutingConfig.AdditionalVersionWeights ?? {}) : undefined,
          }
          return withAlias(before, params.Name, alias, change, region)
        })
        return aliasView(region, record, aliasOf(record, params.Name, region))
      },
    }),
    operation({
      id: 'DeleteAlias',
      summary: 'Deletes an alias with its function URL; done as well when there is none',
      method: 'DELETE',
      url: `${url}/:Name`,
      params: OneAlias,
      status: 204,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params }) => {
        const { tenant, name } = target(caller.tenant, params.FunctionName)
        await registry.update(tenant, name, (record) => withoutAlias(record, params.Name))
      },
    }),
    operation({
      id: 'ListAliases',
      summary: 'Aliases of a function; with FunctionVersion only those that point to it',
      method: 'GET',
      url,
      params: Named,
      query: Type.Object({ ...pageQuery, FunctionVersion: Type.Optional(FunctionVersion) }),
      status: 200,
      reply: listOf('Aliases', Alias),
      handle: async ({ caller, params, query }) => {
        const record = await findRecord(registry, target(caller.tenant, params.FunctionName))
        const wanted = query.FunctionVersion
        const aliases = Object.values(record.aliases)
          .filter(
            ({ functionVersion, weights }) =>
              wanted === undefined || functionVersion === wanted || Object.hasOwn(weights, wanted),
          )
          .toSorted((a, b) => (a.name < b.name ? -1 : 1))
        const { items, next } = pageOf(aliases, query, ({ name }) => name)
        return { Aliases: items.map((alias) => aliasView(region, record, alias)), ...next }
      },
    }),
  ]
}
