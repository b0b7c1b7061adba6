/** Provisioned concurrency: instances of a version that are kept initialised, whatever is called. */
import { Type, type Static } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { functionArn, type FunctionRecord, type ProvisionedRecord } from '../../contracts/function.ts'
import { accountConcurrency, provisionedOf, requireUnreserved } from '../account-concurrency.ts'
import { withoutProvisioned } from '../alias-record.ts'
import type { GatewayDeps } from '../deps.ts'
import { lambdaTime } from '../function-record.ts'
import { findRecord, requireQualifier, targetOf, unqualified, type Target } from '../lookup.ts'
import { pageOf, pageQuery } from '../pages.ts'
import { configOf, putProvisioned, stateOf } from '../provisioned-concurrency.ts'
import { refuseUnsupported } from '../unsupported-members.ts'
import { operation, type AnyOperation } from './operation.ts'
import { listOf, Named, ProvisionedConcurrency, ProvisionedConcurrencyOf, qualifier, Qualified } from './views.ts'

const Body = Type.Object({ ProvisionedConcurrentExecutions: Type.Integer({ minimum: 1 }) })
const members = new Set(Object.keys(Body.properties))
const url = '/2019-09-30/functions/:FunctionName/provisioned-concurrency'
const Query = Type.Object({ ...qualifier, ...pageQuery, List: Type.Optional(Type.Enum(['ALL'])) })

const notFound: readonly ['NO_PROVISIONED_CONCURRENCY'] = ['NO_PROVISIONED_CONCURRENCY']

export const provisionedOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region } = config

  /** @throws PlatformError INVALID_REQUEST without a version or alias */
  const qualified = (tenant: string, functionName: string, given?: string): Target & { qualifier: string } => {
    const target = targetOf(deps, tenant, functionName, given)
    const { qualifier: found } = target
    if (found !== undefined) return { ...target, qualifier: found }
    throw new PlatformError(
      'INVALID_REQUEST',
      'Provisioned concurrency is of a version or an alias: Qualifier is required',
    )
  }
  const view = async (record: FunctionRecord, of: string, known: ProvisionedRecord) => ({
    RequestedProvisionedConcurrentExecutions: known.concurrency,
    ...(await stateOf(deps, record, of, known.concurrency)),
    LastModified: lambdaTime(new Date(known.lastModified)),
  })
  const list = async (tenant: string, functionName: string, query: Static<typeof Query>) => {
    const record = await findRecord(registry, unqualified(deps, tenant, functionName))
    const { items, next } = pageOf(Object.keys(record.provisioned ?? {}).toSorted(), query, (key) => key)
    const configs = items.map(async (of) => ({
      FunctionArn: functionArn(region, tenant, record.name, of),
      ...(await view(record, of, configOf(record, of))),
    }))
    return { ProvisionedConcurrencyConfigs: await Promise.all(configs), ...next }
  }

  return [
    operation({
      id: 'PutProvisionedConcurrencyConfig',
      summary: 'Keeps so many instances of a version, or of that which an alias points to, initialised',
      method: 'PUT',
      url,
      params: Named,
      query: Qualified,
      body: Body,
      status: 202,
      reply: ProvisionedConcurrency,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query, body }) => {
        const target = qualified(caller.tenant, params.FunctionName, query.Qualifier)
        const { tenant, name, qualifier: of } = target
        const { ProvisionedConcurrentExecutions: wanted } = body
        refuseUnsupported(body, members, name)
        const before = await findRecord(registry, target)
        requireQualifier(before, of, region)
        const change = (record: FunctionRecord): FunctionRecord => putProvisioned(record, of, wanted, region)
        if (before.reservedConcurrency === undefined) {
          const account = await accountConcurrency(deps, tenant)
          requireUnreserved(account, provisionedOf(before), provisionedOf(change(before)), 'ConcurrentExecutions')
        }
        const record = await registry.update(tenant, name, change)
        return view(record, of, configOf(record, of))
      },
    }),
    operation({
      id: 'GetProvisionedConcurrencyConfig',
      summary:
        'How far the instances of a version or alias are; with List=ALL: of all (ListProvisionedConcurrencyConfigs)',
      method: 'GET',
      url,
      params: Named,
      query: Query,
      status: 200,
      reply: Type.Union([ProvisionedConcurrency, listOf('ProvisionedConcurrencyConfigs', ProvisionedConcurrencyOf)]),
      errors: notFound,
      handle: async ({ caller, params, query }) => {
        if (query.List !== undefined) return list(caller.tenant, params.FunctionName, query)
        const target = qualified(caller.tenant, params.FunctionName, query.Qualifier)
        const record = await findRecord(registry, target)
        requireQualifier(record, target.qualifier, region)
        return view(record, target.qualifier, configOf(record, target.qualifier))
      },
    }),
    operation({
      id: 'DeleteProvisionedConcurrencyConfig',
      summary: 'Keeps no instances of the version or alias any more: they end as others do',
      method: 'DELETE',
      url,
      params: Named,
      query: Qualified,
      status: 204,
      errors: ['ALREADY_EXISTS', ...notFound],
      handle: async ({ caller, params, query }) => {
        const { tenant, name, qualifier: of } = qualified(caller.tenant, params.FunctionName, query.Qualifier)
        await registry.update(tenant, name, (record) => {
          configOf(record, of)
          return withoutProvisioned(record, of)
        })
      },
    }),
  ]
}
