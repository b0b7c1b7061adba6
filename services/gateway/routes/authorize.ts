/** May the caller do this, on that function? Asked of every operation, after the signature and before anything is looked up for it. */
import type { FastifyRequest } from 'fastify'
import { decideAccess, refuseAccess, type AccessQuestion } from '../access/authorize.ts'
import { rowOf } from '../access/operation-table.ts'
import { statementsOf } from '../access/policy.ts'
import { accountIdOf, functionArn } from '../../contracts/function.ts'
import type { GatewayDeps } from '../deps.ts'
import { accountIn } from '../function-name.ts'
import { targetOf } from '../lookup.ts'

type Named = Readonly<Record<string, string | undefined>>

/**
 * Sets `caller.tenant` to the tenant whose function it is about: the caller's own, unless an ARN names another account.
 * @throws Error, while the gateway starts, for an operation that the table does not have.
 */
export const authorizer = (deps: Pick<GatewayDeps, 'config' | 'registry' | 'access' | 'logger'>, id: string) => {
  const row = rowOf(id)

  const questionOf = async (request: FastifyRequest): Promise<AccessQuestion> => {
    const { caller } = request
    if (!caller) throw new Error(`${id} was reached without authentication`)
    const { accessKey: identity } = caller
    const { FunctionName, Resource } = request.params as Named
    const given = FunctionName ?? Resource
    if (given === undefined) return { identity, row, tenant: identity.tenant, resource: '*', statements: [] }
    const account = accountIn(given) ?? accountIdOf(identity.tenant)
    const tenant = account === accountIdOf(identity.tenant) ? identity.tenant : deps.access.tenantOf(account)
    // An account that nobody has is refused like one that lets nobody in.
    if (tenant === undefined) return { identity, row, tenant: '', resource: given, statements: [] }
    const { name, qualifier } = targetOf(deps, tenant, given, qualifierIn(request))
    const resource = functionArn(deps.config.region, tenant, name, qualifier)
    const record = deps.registry.find(tenant, name) ?? (await deps.registry.refresh(tenant, name))
    return { identity, row, tenant, resource, statements: record ? statementsOf(record, qualifier) : [] }
  }

  return async (request: FastifyRequest): Promise<void> => {
    const question = await questionOf(request)
    const { allowed, reason } = decideAccess(question)
    const { tenant, principal = '' } = { ...question.identity }
    if (!allowed) {
      deps.logger.info({ tenant, principal, action: row.action, resource: question.resource, reason }, 'access denied')
      refuseAccess(question, reason)
    }
    if (request.caller) request.caller = { ...request.caller, tenant: question.tenant }
  }
}

/** As text: whether it is well formed is seen where the name is parsed. */
const qualifierIn = (request: FastifyRequest): string | undefined => {
  const { Qualifier } = request.query as { Qualifier?: unknown }
  return typeof Qualifier === 'string' ? Qualifier : undefined
}
