import {
  CreateAliasCommand,
  CreateFunctionUrlConfigCommand,
  DeleteAliasCommand,
  DeleteFunctionEventInvokeConfigCommand,
  DeleteFunctionUrlConfigCommand,
  GetAccountSettingsCommand,
  GetFunctionCodeSigningConfigCommand,
  GetFunctionEventInvokeConfigCommand,
  GetFunctionRecursionConfigCommand,
  GetFunctionUrlConfigCommand,
  GetPolicyCommand,
  GetRuntimeManagementConfigCommand,
  ListFunctionEventInvokeConfigsCommand,
  ListFunctionUrlConfigsCommand,
  ListTagsCommand,
  PutFunctionEventInvokeConfigCommand,
  PutFunctionRecursionConfigCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateFunctionEventInvokeConfigCommand,
  UpdateFunctionUrlConfigCommand,
} from '@aws-sdk/client-lambda'
import { describe, expect, it } from 'vitest'
import {
  gateway,
  client,
  FunctionName,
  create,
  refusal,
  invalid,
  arn,
  useControlPlane,
} from '../testing/control-plane.ts'

useControlPlane()

const key = () => ({ FunctionName })

describe('function URL configurations', () => {
  it('come and go, the address staying the same', async () => {
    await create()
    const none = refusal('ResourceNotFoundException', 404)
    await expect(client.send(new GetFunctionUrlConfigCommand(key()))).rejects.toMatchObject(none)
    const { FunctionUrl } = await client.send(new CreateFunctionUrlConfigCommand({ ...key(), AuthType: 'AWS_IAM' }))
    expect(FunctionUrl).toMatch(new RegExp(`^http://[a-z2-7]{32}\\.lambda-url\\.localhost:${gateway.port}/$`))
    await expect(client.send(new CreateFunctionUrlConfigCommand({ ...key(), AuthType: 'NONE' }))).rejects.toMatchObject(
      refusal('ResourceConflictException', 409),
    )
    const Cors = { AllowOrigins: ['https://a.example'], MaxAge: 5 }
    const changed = await client.send(
      new UpdateFunctionUrlConfigCommand({ ...key(), InvokeMode: 'RESPONSE_STREAM', Cors }),
    )
    expect(changed).toMatchObject({ FunctionUrl, AuthType: 'AWS_IAM', InvokeMode: 'RESPONSE_STREAM', Cors })
    expect((await client.send(new UpdateFunctionUrlConfigCommand({ ...key(), Cors: {} }))).Cors).toBeUndefined()
    expect((await client.send(new ListFunctionUrlConfigsCommand(key()))).FunctionUrlConfigs).toHaveLength(1)
    await client.send(new DeleteFunctionUrlConfigCommand(key()))
    await expect(client.send(new DeleteFunctionUrlConfigCommand(key()))).rejects.toMatchObject(none)
  })

  it('belong to $LATEST or an alias', async () => {
    await create({ Publish: true })
    await client.send(new CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }))
    const made = await client.send(
      new CreateFunctionUrlConfigCommand({ ...key(), AuthType: 'NONE', Qualifier: 'live' }),
    )
    expect(made.FunctionArn).toBe(arn(':live'))
    await expect(
      client.send(new CreateFunctionUrlConfigCommand({ ...key(), AuthType: 'NONE', Qualifier: '1' })),
    ).rejects.toMatchObject(invalid())
    await client.send(new DeleteAliasCommand({ FunctionName, Name: 'live' }))
    expect((await client.send(new ListFunctionUrlConfigsCommand(key()))).FunctionUrlConfigs).toEqual([])
  })

  it('are refused where credentials would go to anybody', async () => {
    await create()
    const Cors = { AllowCredentials: true, AllowOrigins: ['*'] }
    await expect(
      client.send(new CreateFunctionUrlConfigCommand({ ...key(), AuthType: 'NONE', Cors })),
    ).rejects.toMatchObject(invalid())
  })
})

const put = (more: object) => client.send(new PutFunctionEventInvokeConfigCommand({ FunctionName, ...more }))

const get = () => client.send(new GetFunctionEventInvokeConfigCommand({ FunctionName }))

describe('event invoke configurations', () => {
  it('are absent until put, then changed in part, then gone', async () => {
    await create()
    await expect(get()).rejects.toMatchObject(refusal('ResourceNotFoundException', 404, 'EventInvokeConfig'))
    const put = await client.send(new PutFunctionEventInvokeConfigCommand({ FunctionName, MaximumRetryAttempts: 0 }))
    expect(put).toMatchObject({
      MaximumRetryAttempts: 0,
      MaximumEventAgeInSeconds: 21_600,
      FunctionArn: arn(':$LATEST'),
    })
    expect(Math.abs((put.LastModified?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
    await client.send(new UpdateFunctionEventInvokeConfigCommand({ FunctionName, MaximumEventAgeInSeconds: 60 }))
    expect(await get()).toMatchObject({ MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 })
    const { FunctionEventInvokeConfigs } = await client.send(
      new ListFunctionEventInvokeConfigsCommand({ FunctionName }),
    )
    expect(FunctionEventInvokeConfigs).toHaveLength(1)
    await client.send(new DeleteFunctionEventInvokeConfigCommand({ FunctionName }))
    await expect(get()).rejects.toMatchObject({ name: 'ResourceNotFoundException' })
  })

  it('are refused for destinations and for limits that are none', async () => {
    await create()
    await expect(put({ DestinationConfig: { OnFailure: { Destination: 'arn:aws:sqs:x' } } })).rejects.toMatchObject(
      invalid('DestinationConfig'),
    )
    await expect(put({ MaximumRetryAttempts: 3 })).rejects.toMatchObject(invalid())
    await expect(put({ MaximumEventAgeInSeconds: 59 })).rejects.toMatchObject(invalid())
  })
})

describe('tags', () => {
  it('are added, replaced, removed, and take effect', async () => {
    await create({ Tags: { a: '1', b: '2' } })
    const before = gateway.deps.registry.get('default', FunctionName)
    await client.send(new TagResourceCommand({ Resource: arn(), Tags: { b: '3', 'forkyard:concurrency': '4' } }))
    await client.send(new UntagResourceCommand({ Resource: arn(), TagKeys: ['a', 'none'] }))
    expect((await client.send(new ListTagsCommand({ Resource: arn() }))).Tags).toEqual({
      b: '3',
      'forkyard:concurrency': '4',
    })
    const { latest } = gateway.deps.registry.get('default', FunctionName)
    expect(latest.policy.concurrency).toBe(4)
    expect(latest.revisionId).not.toBe(before.latest.revisionId)
  })

  it('belong to functions, not to versions', async () => {
    await create({ Publish: true })
    await expect(client.send(new ListTagsCommand({ Resource: arn(':1') }))).rejects.toMatchObject(
      invalid('not supported'),
    )
    await expect(client.send(new ListTagsCommand({ Resource: FunctionName }))).rejects.toMatchObject(
      invalid('no function ARN'),
    )
  })
})

describe('what clients ask on each refresh', () => {
  it('is answered as AWS does for a function without these features', async () => {
    await create()
    await expect(client.send(new GetPolicyCommand({ FunctionName }))).rejects.toMatchObject(
      refusal('ResourceNotFoundException', 404),
    )
    expect(
      (await client.send(new GetFunctionCodeSigningConfigCommand({ FunctionName }))).CodeSigningConfigArn,
    ).toBeUndefined()
    expect((await client.send(new GetRuntimeManagementConfigCommand({ FunctionName }))).UpdateRuntimeOn).toBe('Auto')
    expect((await client.send(new GetFunctionRecursionConfigCommand({ FunctionName }))).RecursiveLoop).toBe('Allow')
    const { AccountLimit, AccountUsage } = await client.send(new GetAccountSettingsCommand({}))
    expect(AccountLimit).toMatchObject({ CodeSizeZipped: 64 * 1024, ConcurrentExecutions: 8 })
    expect(AccountUsage?.FunctionCount).toBe(gateway.deps.registry.list('default').length)
  })

  it('of operations that are not here is said to be unknown', async () => {
    const put = new PutFunctionRecursionConfigCommand({ FunctionName, RecursiveLoop: 'Terminate' })
    await expect(client.send(put)).rejects.toMatchObject(refusal('UnknownOperationException', 404))
  })
})
