/** What a function uses: other functions, origins, stores, databases, networks. Credentials go in and never come out. */
import { Type, type Static } from 'typebox'
import type { KnownBindings } from '../../chassis/sealed-bindings.ts'
import { bindingTarget, Bindings, type Binding } from '../../contracts/bindings.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { checkNetworkPolicy } from '../../contracts/network.ts'
import { openedRules } from '../../contracts/opened-networks.ts'
import { boundTarget } from '../calls/bound-target.ts'
import type { GatewayDeps } from '../deps.ts'
import { functionSetting, type Setting } from './function-setting.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named } from './views.ts'

const url = '/forkyard/v1/functions/:FunctionName/bindings'

const BindingView = Type.Object(
  {
    type: Type.String(),
    target: Type.String({ description: 'The function, the origin, the server with its database, or what is opened' }),
  },
  { description: 'With all other members of a binding that has no credential' },
)

const Reply = Type.Object({
  functionName: Type.String(),
  bindings: Type.Record(Type.String(), BindingView),
  lastModified: Type.String({ description: 'ISO 8601' }),
})

const Body = Type.Object({ bindings: Bindings }, { additionalProperties: false })

const isPlain = ({ type }: Binding): boolean => type === 'function' || type === 'internet' || type === 'subnet'

const view = ({ name, record: known }: Setting<KnownBindings>): Static<typeof Reply> => ({
  functionName: name,
  bindings: Object.fromEntries(
    Object.entries(known.record.bindings).map(([of, binding]) => [
      of,
      { ...(isPlain(binding) ? binding : { type: binding.type }), target: bindingTarget(binding) },
    ]),
  ),
  lastModified: known.lastModified,
})

/** What the schema cannot say. @throws PlatformError INVALID_REQUEST naming the binding */
const checkBindings = (deps: GatewayDeps, tenant: string, bindings: Bindings): void => {
  for (const [name, binding] of Object.entries(bindings)) {
    const problem = problemOf(deps, tenant, binding)
    if (problem !== undefined)
      throw new PlatformError('INVALID_REQUEST', `bindings.${name}: ${problem}`, { key: `bindings.${name}` })
  }
}

const problemOf = (deps: GatewayDeps, tenant: string, binding: Binding): string | undefined => {
  switch (binding.type) {
    case 'http':
      return urlProblem(binding.url)
    case 's3':
      return urlProblem(binding.endpoint)
    case 'postgresql':
      return undefined
    case 'function':
      // Whether it is there, and may be called, is asked at each call: it may be deployed later.
      return messageOf(() => boundTarget(deps, tenant, binding))
    default:
      return messageOf(() => checkNetworkPolicy({ rules: openedRules(binding) }))
  }
}

const urlProblem = (given: string): string | undefined => {
  if (!URL.canParse(given)) return `'${given}' is no URL`
  const { username, password, search, hash } = new URL(given)
  if (username || password) return 'credentials belong in headers, not in the URL'
  return search || hash ? 'the URL has neither query nor fragment' : undefined
}

const messageOf = (check: () => unknown): string | undefined => {
  try {
    check()
    return undefined
  } catch (error) {
    if (error instanceof PlatformError) return error.message
    throw error
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
            checkBindings(deps, tenant, body.bindings)
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
