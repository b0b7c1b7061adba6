/** Resource policies: what a function allows to others. Every call asks them (`authorize.ts`). */
import { Type } from 'typebox'
import type { PolicyStatement } from '../../contracts/access.ts'
import { PlatformError } from '../../contracts/errors.ts'
import {
  policyQualifier,
  policyText,
  requirePolicy,
  statementView,
  withoutStatement,
  withStatement,
} from '../access/policy.ts'
import type { GatewayDeps } from '../deps.ts'
import { findRecord, targetOf } from '../lookup.ts'
import { refuseUnsupported } from '../unsupported-members.ts'
import { operation, type AnyOperation } from './operation.ts'
import { Named, named, Qualified, qualifier, RevisionId } from './views.ts'

const text = (pattern: string, maxLength: number) => Type.String({ minLength: 1, maxLength, pattern })
const optional = <T extends Type.TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]))

const StatementId = text('^[a-zA-Z0-9-_]+$', 100)
const Statement = Type.Object({
  StatementId,
  Action: text('^(lambda:[*]|lambda:[a-zA-Z]+|[*])$', 128),
  Principal: text(
    '^([*]|\\d{12}|arn:aws[a-zA-Z-]*:iam::\\d{12}:(root|(user|role)/[a-zA-Z0-9+=,.@_/-]+)|[a-z0-9.-]+\\.amazonaws\\.com)$',
    256,
  ),
  SourceArn: optional(
    text('^arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9-])+:([a-z]{2}(-[a-z]+)+-\\d{1})?:(\\d{12})?:(.*)$', 256),
  ),
  SourceAccount: optional(text('^\\d{12}$', 12)),
  PrincipalOrgID: optional(text('^o-[a-z0-9]{10,32}$', 34)),
  EventSourceToken: optional(text('^[a-zA-Z0-9._-]+$', 256)),
  FunctionUrlAuthType: optional(Type.Enum(['NONE', 'AWS_IAM'])),
  InvokedViaFunctionUrl: optional(Type.Boolean()),
  RevisionId,
})
const members = new Set(Object.keys(Statement.properties))
const url = '/2015-03-31/functions/:FunctionName/policy'

const statementFrom = (body: Type.Static<typeof Statement>): PolicyStatement => {
  if (body.FunctionUrlAuthType && body.Action !== 'lambda:InvokeFunctionUrl')
    throw new PlatformError(
      'INVALID_REQUEST',
      'FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action',
    )
  const given = {
    sourceArn: body.SourceArn,
    sourceAccount: body.SourceAccount,
    principalOrgId: body.PrincipalOrgID,
    eventSourceToken: body.EventSourceToken,
    functionUrlAuthType: body.FunctionUrlAuthType,
    invokedViaFunctionUrl: body.InvokedViaFunctionUrl,
  }
  const conditions = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined && value !== null),
  )
  return { sid: body.StatementId, action: body.Action, principal: body.Principal, ...conditions }
}

export const policyOperations = (deps: GatewayDeps): AnyOperation[] => {
  const { registry, config } = deps
  const { region } = config
  return [
    operation({
      id: 'AddPermission',
      summary: 'Lets others call a function, a version or an alias',
      method: 'POST',
      url,
      params: Named,
      query: Qualified,
      body: Statement,
      status: 201,
      reply: Type.Object({ Statement: Type.String({ description: 'JSON' }) }),
      errors: ['ALREADY_EXISTS', 'REVISION_MISMATCH', 'POLICY_TOO_LARGE'],
      handle: async ({ caller, params, query, body }) => {
        const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        refuseUnsupported(body, members, target.name)
        const statement = statementFrom(body)
        let key = ''
        const record = await registry.update(target.tenant, target.name, (before) => {
          key = policyQualifier(before, target.qualifier, region)
          return withStatement(before, key, statement, body.RevisionId ?? undefined, region)
        })
        return { Statement: JSON.stringify(statementView(record, key, statement, region)) }
      },
    }),
    operation({
      id: 'RemovePermission',
      summary: 'Takes a statement out of the policy',
      method: 'DELETE',
      url: `${url}/:StatementId`,
      params: Type.Object({ ...named, StatementId: Type.String({ minLength: 1, maxLength: 100 }) }),
      query: Type.Object({ ...qualifier, RevisionId: Type.Optional(Type.String()) }),
      status: 204,
      errors: ['ALREADY_EXISTS', 'REVISION_MISMATCH'],
      handle: async ({ caller, params, query }) => {
        const { tenant, name, qualifier: of } = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        await registry.update(tenant, name, (record) =>
          withoutStatement(record, policyQualifier(record, of, region), params.StatementId, query.RevisionId),
        )
      },
    }),
    operation({
      id: 'GetPolicy',
      summary: 'The policy of a function, a version or an alias',
      method: 'GET',
      url,
      params: Named,
      query: Qualified,
      status: 200,
      reply: Type.Object({ Policy: Type.String({ description: 'JSON' }), RevisionId: Type.String() }),
      handle: async ({ caller, params, query }) => {
        const target = targetOf(deps, caller.tenant, params.FunctionName, query.Qualifier)
        const record = await findRecord(registry, target)
        const key = policyQualifier(record, target.qualifier, region)
        const { revisionId } = requirePolicy(record, key)
        return { Policy: policyText(record, key, region), RevisionId: revisionId }
      },
    }),
  ]
}
