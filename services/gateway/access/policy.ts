/** Pure changes of a function's resource policy, and the policy as AWS writes it. */
import { randomUUID } from 'node:crypto'
import type { PolicyStatement, ResourcePolicy } from '../../contracts/access.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { accountIdOf, functionArn, latest, type FunctionRecord } from '../../contracts/function.ts'
import { requireQualifier } from '../lookup.ts'

const maxPolicyBytes = 20 * 1024

/** The key in `policies`. @throws PlatformError INVALID_REQUEST for `$LATEST`, NOT_FOUND for a qualifier that is none. */
export const policyQualifier = (record: FunctionRecord, qualifier: string | undefined, region: string): string => {
  if (qualifier === undefined) return latest
  if (qualifier === latest)
    throw new PlatformError('INVALID_REQUEST', 'We currently do not support adding policies for $LATEST.')
  requireQualifier(record, qualifier, region)
  return qualifier
}

/** What the policy of the function, or of the version or alias that is called, says. */
export const statementsOf = (record: FunctionRecord, qualifier: string | undefined): readonly PolicyStatement[] =>
  policyOf(record, qualifier ?? latest)?.statements ?? []

const policyOf = ({ policies = {} }: FunctionRecord, key: string): ResourcePolicy | undefined =>
  Object.hasOwn(policies, key) ? policies[key] : undefined

/** @throws PlatformError NOT_FOUND when there is no statement */
export const requirePolicy = (record: FunctionRecord, key: string): ResourcePolicy => {
  const policy = policyOf(record, key)
  if (policy && policy.statements.length > 0) return policy
  throw new PlatformError('NOT_FOUND', 'The resource you requested does not exist.')
}

/** @throws PlatformError ALREADY_EXISTS, REVISION_MISMATCH, POLICY_TOO_LARGE */
export const withStatement = (
  record: FunctionRecord,
  key: string,
  statement: PolicyStatement,
  expectedRevision: string | undefined,
  region: string,
): FunctionRecord => {
  const before = policyOf(record, key)
  guardPolicyRevision(before, expectedRevision)
  if (before?.statements.some(({ sid }) => sid === statement.sid))
    throw new PlatformError(
      'ALREADY_EXISTS',
      `The statement id (${statement.sid}) provided already exists. Please provide a new statement id, or remove the existing statement.`,
    )
  const policy = { revisionId: randomUUID(), statements: [...(before?.statements ?? []), statement] }
  const changed = { ...record, policies: { ...record.policies, [key]: policy } }
  const bytes = Buffer.byteLength(policyText(changed, key, region))
  if (bytes > maxPolicyBytes)
    throw new PlatformError('POLICY_TOO_LARGE', `The final policy size (${bytes}) is bigger than the limit (20480).`)
  return changed
}

/** @throws PlatformError NOT_FOUND, REVISION_MISMATCH */
export const withoutStatement = (
  record: FunctionRecord,
  key: string,
  sid: string,
  expectedRevision: string | undefined,
): FunctionRecord => {
  const before = policyOf(record, key)
  guardPolicyRevision(before, expectedRevision)
  const statements = before?.statements.filter((each) => each.sid !== sid) ?? []
  if (statements.length === (before?.statements.length ?? 0))
    throw new PlatformError('NOT_FOUND', `Statement ${sid} is not found in resource policy.`)
  return { ...record, policies: { ...record.policies, [key]: { revisionId: randomUUID(), statements } } }
}

const guardPolicyRevision = (policy: ResourcePolicy | undefined, expected: string | undefined): void => {
  if (expected === undefined || expected === policy?.revisionId) return
  throw new PlatformError(
    'REVISION_MISMATCH',
    'The RevisionId provided does not match the latest RevisionId. Call the GetPolicy API to retrieve the latest RevisionId',
  )
}

export const policyText = (record: FunctionRecord, key: string, region: string): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Id: 'default',
    Statement: requirePolicy(record, key).statements.map((each) => statementView(record, key, each, region)),
  })

export const statementView = (
  { tenant, name }: FunctionRecord,
  key: string,
  statement: PolicyStatement,
  region: string,
): Record<string, unknown> => {
  const condition = conditionView(statement)
  return {
    Sid: statement.sid,
    Effect: 'Allow',
    Principal: principalView(statement.principal),
    Action: statement.action,
    Resource: functionArn(region, tenant, name, key === latest ? undefined : key),
    ...(Object.keys(condition).length > 0 ? { Condition: condition } : {}),
  }
}

const principalView = (principal: string): unknown => {
  if (principal === '*') return '*'
  if (/^\d{12}$/.test(principal)) return { AWS: `arn:aws:iam::${principal}:root` }
  return principal.startsWith('arn:') ? { AWS: principal } : { Service: principal }
}

const conditionView = (statement: PolicyStatement): Record<string, Record<string, unknown>> => {
  const { sourceArn, sourceAccount, principalOrgId, eventSourceToken } = statement
  const { functionUrlAuthType, invokedViaFunctionUrl } = statement
  const equals = {
    ...(sourceAccount === undefined ? {} : { 'AWS:SourceAccount': sourceAccount }),
    ...(principalOrgId === undefined ? {} : { 'aws:PrincipalOrgID': principalOrgId }),
    ...(eventSourceToken === undefined ? {} : { 'lambda:EventSourceToken': eventSourceToken }),
    ...(functionUrlAuthType === undefined ? {} : { 'lambda:FunctionUrlAuthType': functionUrlAuthType }),
  }
  return {
    ...(Object.keys(equals).length > 0 ? { StringEquals: equals } : {}),
    ...(sourceArn === undefined ? {} : { ArnLike: { 'AWS:SourceArn': sourceArn } }),
    ...(invokedViaFunctionUrl === undefined
      ? {}
      : { Bool: { 'lambda:InvokedViaFunctionUrl': String(invokedViaFunctionUrl) } }),
  }
}

/** ARN of whoever calls, as policies and messages name it. */
export const principalArn = (tenant: string, principal: string): string =>
  `arn:aws:iam::${accountIdOf(tenant)}:user/${principal}`
