/** What a function may reach over the network, and what may reach it. Without a policy it has no network. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { functionArn } from '../../contracts/function.ts'
import { checkNetworkPolicy, NetworkPolicy, type NetworkPolicyRecord } from '../../contracts/network.ts'
import type { GatewayDeps } from '../deps.ts'
import { findRecord, unqualified } from '../lookup.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named } from './views.ts'

const url = '/forkyard/v1/functions/:FunctionName/network-policy'

const Reply = Type.Object({
  functionName: Type.String(),
  policy: NetworkPolicy,
  lastModified: Type.String({ description: 'ISO 8601' }),
})

const view = (functionName: string, record: NetworkPolicyRecord) => ({ functionName, ...record })

export const networkPolicyOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, networkPolicies, config } = deps
  const nameOf = async (tenant: string, functionName: string): Promise<string> =>
    (await findRecord(registry, unqualified(deps, tenant, functionName))).name
  const none = (tenant: string, name: string): PlatformError =>
    new PlatformError(
      'NOT_FOUND',
      `The function ${functionArn(config.region, tenant, name)} has no network policy: it has no network`,
    )
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
      handle: async ({ caller: { tenant }, params, body }) => {
        const name = await nameOf(tenant, params.FunctionName)
        checkNetworkPolicy(body)
        const record = { policy: body, lastModified: new Date().toISOString() }
        await networkPolicies.put(tenant, name, record)
        // Deleted meanwhile: a later function of the name must not find it.
        if (!(await registry.refresh(tenant, name))) {
          await networkPolicies.delete(tenant, name)
          registry.get(tenant, name)
        }
        return view(name, record)
      },
    }),
    operation({
      id: 'GetNetworkPolicy',
      summary: 'The network policy of the function',
      method: 'GET',
      url,
      params: Named,
      status: 200,
      reply: Reply,
      handle: async ({ caller: { tenant }, params }) => {
        const name = await nameOf(tenant, params.FunctionName)
        const record = await networkPolicies.get(tenant, name)
        if (!record) throw none(tenant, name)
        return view(name, record)
      },
    }),
    operation({
      id: 'DeleteNetworkPolicy',
      summary: 'Takes the network away from the function, flows that live included',
      method: 'DELETE',
      url,
      params: Named,
      status: 204,
      handle: async ({ caller: { tenant }, params }) => {
        const name = await nameOf(tenant, params.FunctionName)
        if (!(await networkPolicies.get(tenant, name))) throw none(tenant, name)
        await networkPolicies.delete(tenant, name)
      },
    }),
  ]
}
