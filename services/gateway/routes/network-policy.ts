/** What a function may reach over the network, and what may reach it. Without a policy it has no network. */
import { Type } from 'typebox'
import { checkNetworkPolicy, NetworkPolicy, type NetworkPolicyRecord } from '../../contracts/network.ts'
import type { GatewayDeps } from '../deps.ts'
import { functionSetting, type Setting } from './function-setting.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named } from './views.ts'

const url = '/forkyard/v1/functions/:FunctionName/network-policy'

const Reply = Type.Object({
  functionName: Type.String(),
  policy: NetworkPolicy,
  lastModified: Type.String({ description: 'ISO 8601' }),
})

const view = ({ name, record }: Setting<NetworkPolicyRecord>) => ({ functionName: name, ...record })

export const networkPolicyOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { networkPolicies } = deps
  const setting = functionSetting(deps, networkPolicies, 'no network policy: it has no network')
  return [
    operation({
      id: 'PutNetworkPolicy',
      summary: 'Sets the network policy; it applies to every instance within a second, to flows that live too',
      method: 'PUT',
      url,
      params: Named,
      body: NetworkPolicy,
      status: 200,
      reply: Reply,
      handle: async ({ caller: { tenant }, params, body }) =>
        view(
          await setting.put(tenant, params.FunctionName, async (name) => {
            checkNetworkPolicy(body)
            const record = { policy: body, lastModified: new Date().toISOString() }
            await networkPolicies.put(tenant, name, record)
            return record
          }),
        ),
    }),
    operation({
      id: 'GetNetworkPolicy',
      summary: 'The network policy of the function',
      method: 'GET',
      url,
      params: Named,
      status: 200,
      reply: Reply,
      handle: async ({ caller, params }) => view(await setting.get(caller.tenant, params.FunctionName)),
    }),
    operation({
      id: 'DeleteNetworkPolicy',
      summary: 'Takes the network away from the function, flows that live included',
      method: 'DELETE',
      url,
      params: Named,
      status: 204,
      handle: async ({ caller, params }) => setting.delete(caller.tenant, params.FunctionName),
    }),
  ]
}
