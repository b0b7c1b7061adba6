/** May this function call that one? */
import type { FunctionBinding } from '../../contracts/bindings.ts'
import type { Ticket } from '../../contracts/calls.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { accountIdOf, functionArn } from '../../contracts/function.ts'
import { decideAccess, refuseAccess } from '../access/authorize.ts'
import { rowOf } from '../access/operation-table.ts'
import { statementsOf } from '../access/policy.ts'
import type { GatewayDeps } from '../deps.ts'
import { findVersion, type Target } from '../lookup.ts'
import { boundTarget } from './bound-target.ts'

const callRow = rowOf('Invoke')

/**
 * Within a tenant the binding is the permission. A function of another tenant has to let this one in by its resource policy.
 *
 * @param bound undefined: the function has no binding to what it calls
 * @throws PlatformError FORBIDDEN; NOT_FOUND for a function that may be called and is not there
 */
export const authorizeCall = async (
  deps: GatewayDeps,
  { tenant, name, version }: Ticket,
  bound: FunctionBinding | undefined,
): Promise<Target> => {
  const { registry, config, logger } = deps
  if (!bound) throw new PlatformError('FORBIDDEN', `the function ${name} is not bound to what it calls`)
  const target = boundTarget(deps, tenant, bound)
  const record =
    target && (registry.find(target.tenant, target.name) ?? (await registry.refresh(target.tenant, target.name)))
  const question = {
    // What a function is to the policies of others: its own tenant lets it call.
    identity: { tenant, principal: `function/${name}`, roles: ['invoker'] as const },
    row: callRow,
    tenant: target?.tenant ?? '',
    resource: target ? functionArn(config.region, target.tenant, target.name, target.qualifier) : bound.function,
    statements: record ? statementsOf(record, target.qualifier) : [],
    source: {
      arns: [functionArn(config.region, tenant, name), functionArn(config.region, tenant, name, version)],
      account: accountIdOf(tenant),
    },
  }
  const { allowed, reason } = decideAccess(question)
  if (!allowed || !target) {
    logger.info({ tenant, name, action: callRow.action, resource: question.resource, reason }, 'access denied')
    return refuseAccess(question, reason)
  }
  await findVersion(deps, target)
  return target
}
