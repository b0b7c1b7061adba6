/** Function URLs: where a function, or an alias of it, is reached by plain HTTP. The requests themselves are in function-url/. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import type { FunctionRecord } from '../../contracts/function.ts'
import type { GatewayDeps } from '../deps.ts'
import { Cors, urlOf, urlQualifier, withoutUrl, withUrl } from '../function-url/url-record.ts'
import { urlView } from '../function-view.ts'
import { findRecord, targetOf, unqualified } from '../lookup.ts'
import { pageOf, pageQuery } from '../pages.ts'
import { refuseUnsupported } from '../unsupported-members.ts'
import { operation, type AnyOperation } from './operation.ts'
import { listOf, Named, Qualified, UrlConfig } from './views.ts'

const AuthType = Type.Enum(['NONE', 'AWS_IAM'])
const InvokeMode = Type.Optional(Type.Union([Type.Enum(['BUFFERED', 'RESPONSE_STREAM']), Type.Null()]))
const optionalCors = Type.Optional(Type.Union([Cors, Type.Null()]))
const members = new Set(['AuthType', 'InvokeMode', 'Cors'])
const url = '/2021-10-31/functions/:FunctionName/url'

export const urlConfigOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region } = config
  const view = (record: FunctionRecord, qualifier: string) =>
    urlView(config, record, qualifier, urlOf(record, qualifier))
  return [
    operation({
      id: 'CreateFunctionUrlConfig',
      summary: 'Gives a function, or an alias, a URL',
      method: 'POST',
      url,
      params: Named,
      query: Qualified,
      body: Type.Object({ AuthType, InvokeMode, Cors: optionalCors }),
      status: 201,
      reply: UrlConfig,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query, body }) => {
        const { tenant, name, qualifier } = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        refuseUnsupported(body, members, name)
        let key = ''
        const record = await registry.update(tenant, name, (before) => {
          key = urlQualifier(before, qualifier, region)
          if (Object.hasOwn(before.urls, key))
            throw new PlatformError(
              'ALREADY_EXISTS',
              `Failed to create function url config for [functionArn = ${view(before, key).FunctionArn}]. Error message:  FunctionUrlConfig exists for this Lambda function`,
            )
          const { AuthType: authType, InvokeMode: invokeMode, Cors: cors } = body
          return withUrl(before, key, undefined, {
            authType,
            invokeMode: invokeMode ?? undefined,
            cors: cors ?? undefined,
          })
        })
        return view(record, key)
      },
    }),
    operation({
      id: 'GetFunctionUrlConfig',
      summary: 'The URL of a function or alias',
      method: 'GET',
      url,
      params: Named,
      query: Qualified,
      status: 200,
      reply: UrlConfig,
      handle: async ({ caller, params, query }) => {
        const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        const record = await findRecord(registry, target)
        return view(record, urlQualifier(record, target.qualifier, region))
      },
    }),
    operation({
      id: 'UpdateFunctionUrlConfig',
      summary: 'Changes a URL’s settings; what is not given stays, and so does the address',
      method: 'PUT',
      url,
      params: Named,
      query: Qualified,
      body: Type.Object({
        AuthType: Type.Optional(Type.Union([AuthType, Type.Null()])),
        InvokeMode,
        Cors: optionalCors,
      }),
      status: 200,
      reply: UrlConfig,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query, body }) => {
        const { tenant, name, qualifier } = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        refuseUnsupported(body, members, name)
        let key = ''
        const record = await registry.update(tenant, name, (before) => {
          key = urlQualifier(before, qualifier, region)
          return withUrl(before, key, urlOf(before, key), {
            authType: body.AuthType ?? undefined,
            invokeMode: body.InvokeMode ?? undefined,
            cors: body.Cors ?? undefined,
          })
        })
        return view(record, key)
      },
    }),
    operation({
      id: 'DeleteFunctionUrlConfig',
      summary: 'Takes the URL away; it is never given to anybody again',
      method: 'DELETE',
      url,
      params: Named,
      query: Qualified,
      status: 204,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, query }) => {
        const { tenant, name, qualifier } = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        await registry.update(tenant, name, (record) => withoutUrl(record, urlQualifier(record, qualifier, region)))
      },
    }),
    operation({
      id: 'ListFunctionUrlConfigs',
      summary: 'All URLs of a function',
      method: 'GET',
      url: '/2021-10-31/functions/:FunctionName/urls',
      params: Named,
      query: Type.Object(pageQuery),
      status: 200,
      reply: listOf('FunctionUrlConfigs', UrlConfig),
      handle: async ({ caller, params, query }) => {
        const record = await findRecord(registry, unqualified(deps, caller.tenant, params.FunctionName))
        const { items, next } = pageOf(Object.keys(record.urls).toSorted(), query, (key) => key)
        return { FunctionUrlConfigs: items.map((key) => view(record, key)), ...next }
      },
    }),
  ]
}
