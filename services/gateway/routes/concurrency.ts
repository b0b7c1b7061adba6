/** Reserved concurrency: how many invocations of a function, over all its versions, may run at the same time, and always can. */
import { Type } from 'typebox'
import { PlatformError } from '../../contracts/errors.ts'
import { ReservedConcurrency } from '../../contracts/function.ts'
import { accountConcurrency, provisionedOf, requireUnreserved } from '../account-concurrency.ts'
import type { GatewayDeps } from '../deps.ts'
import { concurrencyView } from '../function-view.ts'
import { findRecord, unqualified } from '../lookup.ts'
import { refuseUnsupported } from '../unsupported-members.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Concurrency, Named } from './views.ts'

const Body = Type.Object({ ReservedConcurrentExecutions: ReservedConcurrency })
const members = new Set(Object.keys(Body.properties))
const url = '/2017-10-31/functions/:FunctionName/concurrency'

/** @throws PlatformError INVALID_REQUEST */
const requireRoomFor = (provisioned: number, reserved: number): void => {
  if (provisioned <= reserved) return
  throw new PlatformError(
    'INVALID_REQUEST',
    `ReservedConcurrentExecutions ${reserved} should not be lower than function's total provisioned concurrency [${provisioned}].`,
    { least: provisioned },
  )
}

export const concurrencyOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry } = deps
  return [
    operation({
      id: 'PutFunctionConcurrency',
      summary: 'Sets how many invocations of the function may run at the same time; 0 throttles all',
      method: 'PUT',
      url,
      params: Named,
      body: Body,
      status: 200,
      reply: Concurrency,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params, body }) => {
        const target = unqualified(deps, caller.tenant, params.FunctionName)
        const { tenant, name } = target
        const { ReservedConcurrentExecutions: wanted } = body
        refuseUnsupported(body, members, name)
        const before = await findRecord(registry, target)
        const taken = before.reservedConcurrency ?? provisionedOf(before)
        requireUnreserved(await accountConcurrency(deps, tenant), taken, wanted)
        const record = await registry.update(tenant, name, (found) => {
          requireRoomFor(provisionedOf(found), wanted)
          return { ...found, reservedConcurrency: wanted }
        })
        return concurrencyView(record)
      },
    }),
    operation({
      id: 'GetFunctionConcurrency',
      summary: 'What is reserved for the function; empty if nothing is',
      method: 'GET',
      url: '/2019-09-30/functions/:FunctionName/concurrency',
      params: Named,
      status: 200,
      reply: Type.Partial(Concurrency),
      handle: async ({ caller, params }) =>
        concurrencyView(await findRecord(registry, unqualified(deps, caller.tenant, params.FunctionName))),
    }),
    operation({
      id: 'DeleteFunctionConcurrency',
      summary: 'Reserves nothing any more: the function runs as often as the nodes have room for',
      method: 'DELETE',
      url,
      params: Named,
      status: 204,
      errors: ['ALREADY_EXISTS'],
      handle: async ({ caller, params }) => {
        const { tenant, name } = unqualified(deps, caller.tenant, params.FunctionName)
        await registry.update(tenant, name, ({ reservedConcurrency: _gone, ...record }) => record)
      },
    }),
  ]
}
