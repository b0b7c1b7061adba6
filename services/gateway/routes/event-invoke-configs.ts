/** How asynchronous invocations of a function, version or alias are retried and for how long. */
import { Type, type Static } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { functionArn, latest, type EventInvokeRecord, type FunctionRecord } from '../../contracts/function.ts'
import type { GatewayDeps } from '../deps.ts'
import { defaultEventInvoke } from '../function-record.ts'
import { eventInvokeView } from '../function-view.ts'
import { findRecord, requireQualifier, targetOf, unqualified } from '../lookup.ts'
import { pageOf, pageQuery } from '../pages.ts'
import { refuseUnsupported } from '../unsupported-members.ts'
import { operation, type AnyOperation } from './operation.ts'
import { EventInvokeConfig, listOf, Named, Qualified } from './views.ts'

const integer = (minimum: number, maximum: number) =>
  Type.Optional(Type.Union([Type.Integer({ minimum, maximum }), Type.Null()]))
const Body = Type.Object({ MaximumRetryAttempts: integer(0, 2), MaximumEventAgeInSeconds: integer(60, 21_600) })
type Body = Static<typeof Body>
const members = new Set(Object.keys(Body.properties))
const url = '/2019-09-25/functions/:FunctionName/event-invoke-config'

export const eventInvokeOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region } = config

  const configOf = (record: FunctionRecord, qualifier: string): EventInvokeRecord => {
    const all = record.eventInvokeConfigs ?? {}
    const found = Object.hasOwn(all, qualifier) ? all[qualifier] : undefined
    if (found) return found
    const arn = functionArn(region, record.tenant, record.name, qualifier)
    throw new PlatformError('NOT_FOUND', `The function ${arn} doesn't have an EventInvokeConfig`)
  }

  /** @param keep what is not given stays as it was, and there must be something to keep. */
  const write = (id: string, method: 'PUT' | 'POST', summary: string, keep: boolean): AnyOperation =>
    operation({
      id,
      summary,
      method,
      url,
      params: Named,
      query: Qualified,
      body: Body,
      status: 200,
      reply: EventInvokeConfig,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query, body }) => {
        const { tenant, name, qualifier = latest } = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        refuseUnsupported(body, members, name)
        const record = await registry.update(tenant, name, (before) => {
          requireQualifier(before, qualifier, region)
          const next = changed(body, keep ? configOf(before, qualifier) : defaultEventInvoke)
          return { ...before, eventInvokeConfigs: { ...before.eventInvokeConfigs, [qualifier]: next } }
        })
        return eventInvokeView(region, record, qualifier, configOf(record, qualifier))
      },
    })

  return [
    write('PutFunctionEventInvokeConfig', 'PUT', 'Configures asynchronous invocation', false),
    write('UpdateFunctionEventInvokeConfig', 'POST', 'Changes the configuration; what is not given stays', true),
    operation({
      id: 'GetFunctionEventInvokeConfig',
      summary: 'The configuration of asynchronous invocation',
      method: 'GET',
      url,
      params: Named,
      query: Qualified,
      status: 200,
      reply: EventInvokeConfig,
      handle: async ({ caller, params, query }) => {
        const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        const { qualifier = latest } = target
        const record = await findRecord(registry, target)
        return eventInvokeView(region, record, qualifier, configOf(record, qualifier))
      },
    }),
    operation({
      id: 'DeleteFunctionEventInvokeConfig',
      summary: 'Goes back to the defaults: two more attempts, six hours',
      method: 'DELETE',
      url,
      params: Named,
      query: Qualified,
      status: 204,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query }) => {
        const { tenant, name, qualifier = latest } = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        await registry.update(tenant, name, (record) => {
          configOf(record, qualifier)
          const { [qualifier]: _gone, ...eventInvokeConfigs } = record.eventInvokeConfigs ?? {}
          return { ...record, eventInvokeConfigs }
        })
      },
    }),
    operation({
      id: 'ListFunctionEventInvokeConfigs',
      summary: 'All configurations of a function',
      method: 'GET',
      url: `${url}/list`,
      params: Named,
      query: Type.Object(pageQuery),
      status: 200,
      reply: listOf('FunctionEventInvokeConfigs', EventInvokeConfig),
      handle: async ({ caller, params, query }) => {
        const record = await findRecord(registry, unqualified(deps, caller.tenant, params.FunctionName))
        const { items, next } = pageOf(Object.keys(record.eventInvokeConfigs ?? {}).toSorted(), query, (key) => key)
        const configs = items.map((key) => eventInvokeView(region, record, key, configOf(record, key)))
        return { FunctionEventInvokeConfigs: configs, ...next }
      },
    }),
  ]
}

const changed = (body: Body, before: Omit<EventInvokeRecord, 'lastModified'>): EventInvokeRecord => ({
  maximumRetryAttempts: body.MaximumRetryAttempts ?? before.maximumRetryAttempts,
  maximumEventAgeMs: body.MaximumEventAgeInSeconds ? body.MaximumEventAgeInSeconds * 1000 : before.maximumEventAgeMs,
  lastModified: new Date().toISOString(),
})
