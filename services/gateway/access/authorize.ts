/** May this caller do that? Pure: what is known goes in, the decision and its reason come out. */
import type { PolicyStatement } from '../../contracts/access.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { accountIdOf } from '../../contracts/function.ts'
import type { AccessKey } from '../sigv4.ts'
import type { OperationRow } from './operation-table.ts'
import { principalArn } from './policy.ts'

export type Identity = Pick<AccessKey, 'tenant' | 'principal' | 'roles'>

export interface AccessQuestion {
  /** Absent: nobody signed. */
  readonly identity: Identity | undefined
  readonly row: OperationRow
  /** Whose resource it is. */
  readonly tenant: string
  /** ARN, or `*` where it is about no function. */
  readonly resource: string
  /** Of the function's resource policy. */
  readonly statements: readonly PolicyStatement[]
  /** How the URL through which the request came wants its callers. */
  readonly urlAuthType?: 'NONE' | 'AWS_IAM'
  /** The function that calls, by its ARN with and without its version, and its account. */
  readonly source?: { readonly arns: readonly string[]; readonly account: string }
}

export interface AccessDecision {
  readonly allowed: boolean
  readonly reason: string
}

/**
 * Within a tenant a role is enough, and so is a statement that names the principal, or everybody. Another tenant's principal needs
 * both: its own tenant lets it do such things, and the function's policy lets its tenant do this one.
 */
export const decideAccess = (question: AccessQuestion): AccessDecision => {
  const { identity, row, tenant } = question
  if (!identity) return grantOf(question, 'everybody') ?? refusal('no resource-based policy allows everybody to call')
  const byRole = identity.roles.find((role) => row.roles.includes(role))
  if (identity.tenant !== tenant) {
    if (byRole === undefined) return refusal(`no identity-based policy allows the ${row.action} action`)
    return grantOf(question, 'account') ?? refusal(`no resource-based policy allows the ${row.action} action`)
  }
  if (byRole !== undefined) return { allowed: true, reason: `role ${byRole}` }
  return grantOf(question, 'principal') ?? refusal(`no identity-based policy allows the ${row.action} action`)
}

const refusal = (reason: string): AccessDecision => ({ allowed: false, reason })

/** Whom a statement has to name: `account` takes the caller's whole account, `principal` the caller itself, both take `*`. */
type Naming = 'everybody' | 'account' | 'principal'

const grantOf = (question: AccessQuestion, naming: Naming): AccessDecision | undefined => {
  const found = question.statements.find(
    (statement) =>
      namesAction(statement, question.row.action) &&
      namesCaller(statement, question.identity, naming) &&
      conditionsHold(statement, question),
  )
  return found && { allowed: true, reason: `statement ${found.sid}` }
}

const namesAction = ({ action }: PolicyStatement, wanted: string): boolean =>
  wanted.startsWith('lambda:') && (action === wanted || action === 'lambda:*' || action === '*')

const namesCaller = ({ principal }: PolicyStatement, identity: Identity | undefined, naming: Naming): boolean => {
  if (principal === '*') return true
  if (!identity || naming === 'everybody') return false
  if (principal === principalArn(identity.tenant, identity.principal)) return true
  const account = accountIdOf(identity.tenant)
  return naming === 'account' && (principal === account || principal === `arn:aws:iam::${account}:root`)
}

/** A condition about what a request does not say (whence it comes, where no function calls; an organisation, a token) does not hold. */
const conditionsHold = (statement: PolicyStatement, { urlAuthType, source }: AccessQuestion): boolean => {
  const { sourceArn, sourceAccount, principalOrgId, eventSourceToken } = statement
  if ([principalOrgId, eventSourceToken].some((each) => each !== undefined)) return false
  if (sourceArn !== undefined && !source?.arns.includes(sourceArn)) return false
  if (sourceAccount !== undefined && sourceAccount !== source?.account) return false
  const { functionUrlAuthType, invokedViaFunctionUrl } = statement
  if (functionUrlAuthType !== undefined && functionUrlAuthType !== urlAuthType) return false
  return invokedViaFunctionUrl === undefined || invokedViaFunctionUrl === (urlAuthType !== undefined)
}

/** @throws PlatformError FORBIDDEN that names who, what and on which resource. */
export const refuseAccess = ({ identity, row, resource }: AccessQuestion, reason: string): never => {
  const who = identity ? `User: ${principalArn(identity.tenant, identity.principal)}` : 'User: anonymous'
  throw new PlatformError(
    'FORBIDDEN',
    `${who} is not authorized to perform: ${row.action} on resource: ${resource} because ${reason}`,
  )
}
