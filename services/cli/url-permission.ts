/** A URL without signatures is open only if the function's policy says so, as at AWS: the console adds this statement, so do we. */
import {
  AddPermissionCommand,
  RemovePermissionCommand,
  ResourceConflictException,
  type LambdaClient,
} from '@aws-sdk/client-lambda'
import { orUndefined } from './or-undefined.ts'

/** The console's own name for it. */
export const publicUrlStatement = 'FunctionURLAllowPublicAccess'

interface Target {
  readonly FunctionName: string
  readonly Qualifier?: string
}

/** Adds the statement for `NONE`, takes it away for anything else. Done as well when it is so already. */
export const permitUrl = async (client: LambdaClient, target: Target, authType: string | undefined): Promise<void> => {
  const statement = { ...target, StatementId: publicUrlStatement }
  if (authType !== 'NONE') return void (await orUndefined(client.send(new RemovePermissionCommand(statement))))
  const open = { Action: 'lambda:InvokeFunctionUrl', Principal: '*', FunctionUrlAuthType: 'NONE' } as const
  try {
    await client.send(new AddPermissionCommand({ ...statement, ...open }))
  } catch (error) {
    if (!(error instanceof ResourceConflictException)) throw error
  }
}
