/** What a function uses: HTTP origins, S3-compatible stores, PostgreSQL servers. Credentials go in and never come out. */
import { Type, type Static } from 'typebox'
import { Bindings, bindingTarget } from '../../contracts/bindings.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { KnownBindings } from '../bindings.ts'
import type { GatewayDeps } from '../deps.ts'
import { functionSetting, type Setting } from './function-setting.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named } from './views.ts'

const url = '/forkyard/v1/functions/:FunctionName/bindings'

const BindingView = Type.Object({
  type: Type.String(),
  target: Type.String({ description: 'The function, the origin, or the server with its database' }),
})

const Reply = Type.Object({
  functionName: Type.String(),
  bindings: Type.Record(Type.String(), BindingView),
  lastModified: Type.String({ description: 'ISO 8601' }),
})

const Body = Type.Object({ bindings: Bindings }, { additionalProperties: false })

const view = ({ name, record: known }: Setting<KnownBindings>): Static<typeof Reply> => ({
  functionName: name,
  bindings: Object.fromEntries(
    Object.entries(known.record.bindings).map(([of, binding]) => [
      of,
      { type: binding.type, target: bindingTarget(binding) },
    ]),
  ),
  lastModified: known.lastModified,
})

/** What the schema cannot say. @throws PlatformError INVALID_REQUEST naming the binding */
const checkBindings = (bindings: Bindings): void => {
  for (const [name, binding] of Object.entries(bindings)) {
    const given = binding.type === 'http' ? binding.url : binding.type === 's3' ? binding.endpoint : undefined
    if (given === undefined) continue
    const refuse = (problem: string): never => {
      throw new PlatformError('INVALID_REQUEST', `bindings.${name}: ${problem}`, { key: `bindings.${name}` })
    }
    if (!URL.canParse(given)) return refuse(`'${given}' is no URL`)
    const { username, password, search, hash } = new URL(given)
    if (username || password) refuse('credentials belong in headers, not in the URL')
    if (search || hash) refuse('the URL has neither query nor fragment')
  }
}

export const bindingOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { bindings } = deps
  const setting = functionSetting(deps, bindings, 'no bindings')
  return [
    operation({
      id: 'PutBindings',
      summary: 'Sets all bindings of the function; they apply to every instance within a second',
      method: 'PUT',
      url,
      params: Named,
      body: Body,
      status: 200,
      reply: Reply,
      handle: async ({ caller: { tenant }, params, body }) =>
        view(
          await setting.put(tenant, params.FunctionName, (name) => {
            checkBindings(body.bindings)
            return bindings.put(tenant, name, body.bindings)
          }),
        ),
    }),
    operation({
      id: 'GetBindings',
      summary: 'The bindings of the function, without credentials',
      method: 'GET',
      url,
      params: Named,
      status: 200,
      reply: Reply,
      handle: async ({ caller, params }) => view(await setting.get(caller.tenant, params.FunctionName)),
    }),
    operation({
      id: 'DeleteBindings',
      summary: 'Takes all bindings from the function',
      method: 'DELETE',
      url,
      params: Named,
      status: 204,
      handle: async ({ caller, params }) => setting.delete(caller.tenant, params.FunctionName),
    }),
  ]
}
