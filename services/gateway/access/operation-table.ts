/** Which roles may do what: the one table. An operation without a row here keeps the gateway from starting. */
import type { Role } from '../../contracts/access.ts'

export interface OperationRow {
  /** As messages and resource policies name it. Only `lambda:` actions can be granted by a policy. */
  readonly action: string
  readonly roles: readonly Role[]
}

const readers: readonly Role[] = ['viewer', 'deployer', 'admin']
const callers: readonly Role[] = ['invoker', 'deployer', 'admin']
const changers: readonly Role[] = ['deployer', 'admin']
const keepers: readonly Role[] = ['admin', 'operator']
const everybody: readonly Role[] = ['viewer', 'invoker', 'deployer', 'admin', 'operator']

/** Rows whose action is the operation's own name. */
const rows = (
  prefix: 'lambda' | 'forkyard',
  may: readonly Role[],
  ids: readonly string[],
): readonly (readonly [string, OperationRow])[] => ids.map((id) => [id, { action: `${prefix}:${id}`, roles: may }])

export const operationTable: ReadonlyMap<string, OperationRow> = new Map<string, OperationRow>([
  ...rows('lambda', readers, [
    'GetFunction',
    'GetFunctionConfiguration',
    'ListFunctions',
    'ListVersionsByFunction',
    'GetAlias',
    'ListAliases',
    'GetFunctionUrlConfig',
    'ListFunctionUrlConfigs',
    'GetFunctionEventInvokeConfig',
    'ListFunctionEventInvokeConfigs',
    'ListTags',
    'GetAccountSettings',
    'GetPolicy',
    'GetFunctionCodeSigningConfig',
    'GetFunctionConcurrency',
    'GetProvisionedConcurrencyConfig',
    'GetRuntimeManagementConfig',
    'GetFunctionRecursionConfig',
  ]),
  ['DownloadCode', { action: 'lambda:GetFunction', roles: readers }],
  ['Invoke', { action: 'lambda:InvokeFunction', roles: callers }],
  ['InvokeWithResponseStream', { action: 'lambda:InvokeFunction', roles: callers }],
  /** A request at the URL of a function with `AWS_IAM`. */
  ['InvokeFunctionUrl', { action: 'lambda:InvokeFunctionUrl', roles: callers }],
  ...rows('lambda', changers, [
    'CreateFunction',
    'DeleteFunction',
    'UpdateFunctionCode',
    'UpdateFunctionConfiguration',
    'PublishVersion',
    'CreateAlias',
    'UpdateAlias',
    'DeleteAlias',
    'CreateFunctionUrlConfig',
    'UpdateFunctionUrlConfig',
    'DeleteFunctionUrlConfig',
    'PutFunctionEventInvokeConfig',
    'UpdateFunctionEventInvokeConfig',
    'DeleteFunctionEventInvokeConfig',
    'PutFunctionConcurrency',
    'DeleteFunctionConcurrency',
    'PutProvisionedConcurrencyConfig',
    'DeleteProvisionedConcurrencyConfig',
    'TagResource',
    'UntagResource',
    // A deployer may open a function it may as well replace.
    'AddPermission',
    'RemovePermission',
  ]),
  ...rows('forkyard', readers, [
    'GetStatus',
    'ExplainPlacement',
    'GetLogs',
    'GetNetworkPolicy',
    'GetBindings',
    'GetAudit',
  ]),
  // Dead letters hold the events of whoever called.
  ...rows('forkyard', changers, ['ListDeadLetters', 'RedriveDeadLetters']),
  ...rows('forkyard', changers, ['PutNetworkPolicy', 'DeleteNetworkPolicy', 'PutBindings', 'DeleteBindings']),
  ...rows('forkyard', everybody, ['GetCaller']),
  ...rows('forkyard', keepers, [
    'ListPrincipals',
    'PutPrincipal',
    'DeletePrincipal',
    'ListAccessKeys',
    'CreateAccessKey',
    'UpdateAccessKey',
    'DeleteAccessKey',
  ]),
  ...rows(
    'forkyard',
    ['operator'],
    [
      'ListTenants',
      'CordonNode',
      'DrainNode',
      'UncordonNode',
      'CreateJoinToken',
      'ListJoinedNodes',
      'RemoveJoinedNode',
    ],
  ),
])

/** No operation of the API; `function-url/handle.ts` asks for it. */
export const urlOperation = 'InvokeFunctionUrl'

/** @throws Error when the table has no such row: the gateway must not start. */
export const rowOf = (id: string): OperationRow => {
  const row = operationTable.get(id)
  if (!row)
    throw new Error(`operation ${id} has no row in access/operation-table.ts: nobody would know who may call it`)
  return row
}
