import {
  AddPermissionCommand,
  CreateAliasCommand,
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  DeleteAliasCommand,
  GetPolicyCommand,
  InvokeCommand,
  LambdaClient,
  PublishVersionCommand,
  RemovePermissionCommand,
  type AddPermissionCommandInput,
} from '@aws-sdk/client-lambda'
import { beforeEach, describe, expect, it } from 'vitest'
import { accountIdOf } from '../../contracts/function.ts'
import { account, otherAccount, region, roleArn, zipOf } from '../testing/gateway.ts'
import {
  arn,
  client,
  create,
  FunctionName,
  gateway,
  invalid,
  refusal,
  useControlPlane,
} from '../testing/control-plane.ts'

useControlPlane()

const statement = (more: Partial<AddPermissionCommandInput> = {}) => ({
  FunctionName,
  StatementId: 's1',
  Action: 'lambda:InvokeFunction',
  Principal: accountIdOf('two'),
  ...more,
})
const add = (more: Partial<AddPermissionCommandInput> = {}) => client.send(new AddPermissionCommand(statement(more)))
const policy = async (Qualifier?: string) =>
  client.send(new GetPolicyCommand({ FunctionName, ...(Qualifier ? { Qualifier } : {}) }))
const statements = async (Qualifier?: string) =>
  (JSON.parse((await policy(Qualifier)).Policy ?? '') as { Statement: object[] }).Statement

const fill = async (): Promise<void> => {
  for (let at = 0; at < 200; at++) await add({ StatementId: `${at}-${'x'.repeat(90)}` })
}
const lambda = (credentials: { accessKeyId: string; secretAccessKey: string }) =>
  new LambdaClient({ endpoint: gateway.url, region, credentials, maxAttempts: 1 })
const invoke = (by: LambdaClient, name = arn()) => by.send(new InvokeCommand({ FunctionName: name }))
const denied = refusal('AccessDeniedException', 403)

describe('a policy', () => {
  beforeEach(() => create())

  it('is what AWS writes', async () => {
    const { Statement } = await add()
    const written = {
      Sid: 's1',
      Effect: 'Allow',
      Principal: { AWS: `arn:aws:iam::${accountIdOf('two')}:root` },
      Action: 'lambda:InvokeFunction',
      Resource: arn(),
    }
    expect(JSON.parse(Statement ?? '')).toEqual(written)
    const { Policy, RevisionId } = await policy()
    expect(JSON.parse(Policy ?? '')).toEqual({ Version: '2012-10-17', Id: 'default', Statement: [written] })
    expect(RevisionId).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('has conditions as AWS writes them', async () => {
    await add({
      Principal: 's3.amazonaws.com',
      SourceArn: 'arn:aws:s3:::bucket',
      SourceAccount: '123456789012',
      EventSourceToken: 'token',
    })
    await add({ StatementId: 's2', Action: 'lambda:InvokeFunctionUrl', Principal: '*', FunctionUrlAuthType: 'NONE' })
    expect(await statements()).toMatchObject([
      {
        Principal: { Service: 's3.amazonaws.com' },
        Condition: {
          StringEquals: { 'AWS:SourceAccount': '123456789012', 'lambda:EventSourceToken': 'token' },
          ArnLike: { 'AWS:SourceArn': 'arn:aws:s3:::bucket' },
        },
      },
      { Principal: '*', Condition: { StringEquals: { 'lambda:FunctionUrlAuthType': 'NONE' } } },
    ])
  })

  it('belongs to the version or alias for which it was made, and goes with it', async () => {
    await client.send(new PublishVersionCommand({ FunctionName }))
    await client.send(new CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }))
    await add({ Qualifier: 'live' })
    expect(await statements('live')).toMatchObject([{ Resource: arn(':live') }])
    await expect(policy()).rejects.toMatchObject(refusal('ResourceNotFoundException', 404))
    await expect(policy('1')).rejects.toMatchObject(refusal('ResourceNotFoundException', 404))
    await client.send(new DeleteAliasCommand({ FunctionName, Name: 'live' }))
    await client.send(new CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }))
    await expect(policy('live')).rejects.toMatchObject(refusal('ResourceNotFoundException', 404))
  })

  it('changes under the revision that is named, or not at all', async () => {
    await add()
    const { RevisionId: first } = await policy()
    await add({ StatementId: 's2', RevisionId: first })
    await expect(add({ StatementId: 's3', RevisionId: first })).rejects.toMatchObject(
      refusal('PreconditionFailedException', 412),
    )
    const remove = { FunctionName, StatementId: 's1' }
    await expect(client.send(new RemovePermissionCommand({ ...remove, RevisionId: first }))).rejects.toMatchObject(
      refusal('PreconditionFailedException', 412),
    )
    await client.send(new RemovePermissionCommand({ ...remove, RevisionId: (await policy()).RevisionId }))
    expect(await statements()).toMatchObject([{ Sid: 's2' }])
  })

  it('refuses what makes no sense', async () => {
    await add()
    await expect(add()).rejects.toMatchObject(refusal('ResourceConflictException', 409, 's1'))
    await expect(add({ StatementId: 'a b' })).rejects.toMatchObject(invalid())
    await expect(add({ StatementId: 's2', Action: 's3:GetObject' })).rejects.toMatchObject(invalid())
    await expect(add({ StatementId: 's2', Principal: 'somebody' })).rejects.toMatchObject(invalid())
    await expect(add({ StatementId: 's2', FunctionUrlAuthType: 'NONE' })).rejects.toMatchObject(
      invalid('only supported'),
    )
    await expect(add({ StatementId: 's2', Qualifier: '$LATEST' })).rejects.toMatchObject(invalid('$LATEST'))
    await expect(add({ StatementId: 's2', Qualifier: 'none' })).rejects.toMatchObject(
      refusal('ResourceNotFoundException', 404),
    )
    const gone = new RemovePermissionCommand({ FunctionName, StatementId: 'none' })
    await expect(client.send(gone)).rejects.toMatchObject(refusal('ResourceNotFoundException', 404, 'none'))
  })

  it('is at most 20 KiB', async () => {
    await expect(fill()).rejects.toMatchObject(refusal('PolicyLengthExceededException', 400))
  })
})

describe('a call from elsewhere', () => {
  beforeEach(() => create())

  it('of another tenant is refused, names who and what, and looks like one for a function that is not there', async () => {
    const other = lambda(otherAccount)
    await expect(invoke(other)).rejects.toMatchObject({
      ...denied,
      message: `User: arn:aws:iam::${accountIdOf('two')}:user/root is not authorized to perform: lambda:InvokeFunction on resource: ${arn()} because no resource-based policy allows the lambda:InvokeFunction action`,
    })
    await expect(invoke(other, `${arn()}-none`)).rejects.toMatchObject(denied)
    await expect(invoke(other, arn().replace('000000000000', '999999999999'))).rejects.toMatchObject(denied)
  })

  it.each([
    ['its account', () => accountIdOf('two')],
    ['its account’s ARN', () => `arn:aws:iam::${accountIdOf('two')}:root`],
    ['itself', () => `arn:aws:iam::${accountIdOf('two')}:user/root`],
    ['everybody', () => '*'],
  ])('of another tenant goes through when a statement names %s', async (_who, Principal) => {
    await add({ Principal: Principal() })
    await invoke(lambda(otherAccount))
    const placed = gateway.placements.at(-1)
    expect(placed?.revision).toMatchObject({ tenant: 'default', name: FunctionName })
  })

  it.each<[string, Partial<AddPermissionCommandInput>]>([
    ['another account', { Principal: '123456789012' }],
    ['another action', { Action: 'lambda:GetFunction' }],
    ['a service', { Principal: 's3.amazonaws.com' }],
    ['a source, which nobody proves', { Principal: '*', SourceAccount: accountIdOf('two') }],
    ['calls over a URL', { InvokedViaFunctionUrl: true }],
    ['a user of it that is another', { Principal: `arn:aws:iam::${accountIdOf('two')}:user/ada` }],
  ])('of another tenant is refused when the statement is for %s', async (_what, more) => {
    await add(more)
    await expect(invoke(lambda(otherAccount))).rejects.toMatchObject(denied)
  })

  it('of the same tenant without a role needs a statement that names it, not its account', async () => {
    const { access } = gateway.deps
    await access.putPrincipal('default', `guest-${FunctionName}`, [])
    const { record, secretAccessKey } = await access.createKey('default', `guest-${FunctionName}`, undefined)
    const guest = lambda({ accessKeyId: record.accessKeyId, secretAccessKey })
    await add({ Principal: accountIdOf('default') })
    await expect(invoke(guest, FunctionName)).rejects.toMatchObject(denied)
    await add({ StatementId: 's2', Principal: `arn:aws:iam::000000000000:user/guest-${FunctionName}` })
    expect((await invoke(guest, FunctionName)).StatusCode).toBe(200)
  })

  it('is let in for the qualifier whose policy says so, and for no other', async () => {
    await client.send(new PublishVersionCommand({ FunctionName }))
    await client.send(new CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }))
    await add({ Qualifier: 'live' })
    expect((await invoke(lambda(otherAccount), arn(':live'))).StatusCode).toBe(200)
    for (const name of [arn(), arn(':1')])
      await expect(invoke(lambda(otherAccount), name)).rejects.toMatchObject(denied)
  })

  it('ends with the statement', async () => {
    await add()
    await invoke(lambda(otherAccount))
    await client.send(new RemovePermissionCommand({ FunctionName, StatementId: 's1' }))
    await expect(invoke(lambda(otherAccount))).rejects.toMatchObject(denied)
  })

  it('never makes a name mean a function of another tenant', async () => {
    const other = lambda(otherAccount)
    const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
    const command = { FunctionName, Role: roleArn, Runtime: 'nodejs24.x', Handler: 'index.handler', Code } as const
    await other.send(new CreateFunctionCommand(command))
    await invoke(other, FunctionName)
    expect(gateway.placements.at(-1)?.revision.tenant).toBe('two')
    await invoke(lambda(account), FunctionName)
    expect(gateway.placements.at(-1)?.revision.tenant).toBe('default')
  })
})

describe('a URL without signatures', () => {
  it('is closed until the policy opens it, and again afterwards', async () => {
    await create()
    const config = new CreateFunctionUrlConfigCommand({ FunctionName, AuthType: 'NONE' })
    const { host } = new URL((await client.send(config)).FunctionUrl ?? '')
    const status = async () => {
      const { request } = await import('node:http')
      return new Promise<number | undefined>((resolve, reject) => {
        const sent = request({ host: '127.0.0.1', port: gateway.port, headers: { host }, agent: false })
        sent.once('error', reject).once('response', (response) => {
          response.resume()
          resolve(response.statusCode)
        })
        sent.end()
      })
    }
    const open = { Action: 'lambda:InvokeFunctionUrl', Principal: '*' }
    expect(await status()).toBe(403)
    await add({ ...open, Principal: accountIdOf('two') })
    await add({ ...open, StatementId: 's2', FunctionUrlAuthType: 'AWS_IAM' })
    await add({ StatementId: 's3', Principal: '*' })
    expect(await status()).toBe(403)
    await add({ ...open, StatementId: 's4', FunctionUrlAuthType: 'NONE' })
    // The fake node answers with no HTTP: the request has gone through.
    expect(await status()).toBe(502)
    await client.send(new RemovePermissionCommand({ FunctionName, StatementId: 's4' }))
    expect(await status()).toBe(403)
  })
})
