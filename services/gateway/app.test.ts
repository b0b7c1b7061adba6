import {
  CreateAliasCommand,
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  DeleteAliasCommand,
  DeleteFunctionCommand,
  DeleteFunctionEventInvokeConfigCommand,
  DeleteFunctionUrlConfigCommand,
  GetAccountSettingsCommand,
  GetAliasCommand,
  GetFunctionCodeSigningConfigCommand,
  GetFunctionCommand,
  GetFunctionConcurrencyCommand,
  GetFunctionConfigurationCommand,
  GetFunctionEventInvokeConfigCommand,
  GetFunctionRecursionConfigCommand,
  GetFunctionUrlConfigCommand,
  GetPolicyCommand,
  GetRuntimeManagementConfigCommand,
  LambdaClient,
  ListAliasesCommand,
  ListFunctionEventInvokeConfigsCommand,
  ListFunctionUrlConfigsCommand,
  ListTagsCommand,
  ListVersionsByFunctionCommand,
  paginateListFunctions,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutFunctionEventInvokeConfigCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  UpdateFunctionEventInvokeConfigCommand,
  UpdateFunctionUrlConfigCommand,
  waitUntilFunctionActiveV2,
  type CreateFunctionCommandInput,
} from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { otherAccount, roleArn, startGateway, zipOf, type TestGateway } from './testing/gateway.ts'

let gateway: TestGateway
let client: LambdaClient
let zip: Buffer
let FunctionName: string
let count = 0

beforeAll(async () => {
  gateway = await startGateway({ limits: { zipBytes: 64 * 1024, requestBytes: 64 * 1024, environmentBytes: 256 } })
  client = gateway.client()
  zip = await zipOf({ 'index.js': 'exports.handler = async () => 1' })
})
afterAll(() => gateway.close())
beforeEach(() => {
  FunctionName = `f${++count}`
  return () => expect(gateway.problems).toEqual([])
})

const create = (more: Partial<CreateFunctionCommandInput> = {}) =>
  client.send(
    new CreateFunctionCommand({
      FunctionName,
      Role: roleArn,
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Code: { ZipFile: zip },
      ...more,
    }),
  )
const refusal = (name: string, status: number, message = '') => ({
  name,
  message: expect.stringContaining(message) as string,
  $metadata: expect.objectContaining({ httpStatusCode: status }) as object,
})
const invalid = (message = '') => refusal('InvalidParameterValueException', 400, message)
const arn = (qualifier = '') => `arn:aws:lambda:eu-test-1:000000000000:function:${FunctionName}${qualifier}`

describe('CreateFunction', () => {
  it('makes a function with AWS’s defaults, active at once', async () => {
    expect(await create()).toMatchObject({
      FunctionArn: arn(),
      Version: '$LATEST',
      MemorySize: 128,
      Timeout: 3,
      CodeSize: zip.length,
      State: 'Active',
      EphemeralStorage: { Size: 512 },
    })
    await waitUntilFunctionActiveV2({ client, maxWaitTime: 5 }, { FunctionName })
  })

  it('publishes when asked', async () => {
    expect(await create({ Publish: true })).toMatchObject({ Version: '1', FunctionArn: arn(':1') })
  })

  it('is refused for a name that is taken, and for another tenant it is not', async () => {
    await create()
    await expect(create()).rejects.toMatchObject(refusal('ResourceConflictException', 409, 'already exist'))
    const others = gateway.client(otherAccount)
    await expect(others.send(new GetFunctionCommand({ FunctionName }))).rejects.toMatchObject(
      refusal('ResourceNotFoundException', 404),
    )
  })

  it.each<[string, Partial<CreateFunctionCommandInput>, string]>([
    ['an unknown runtime', { Runtime: 'python3.12' }, 'nodejs24.x'],
    ['a handler that is not there', { Handler: 'other.handler' }, 'other.js'],
    ['no code', { Code: {} }, 'ZipFile'],
    ['code elsewhere', { Code: { S3Bucket: 'bucket', S3Key: 'k' } }, 'S3Bucket'],
    ['code that is no zip', { Code: { ZipFile: Buffer.from('no zip') } }, 'unzip'],
    ['too little memory', { MemorySize: 127 }, 'MemorySize'],
    ['too long a time-out', { Timeout: 901 }, 'Timeout'],
    ['a malformed role', { Role: 'me' }, 'Role'],
    ['a reserved variable', { Environment: { Variables: { AWS_REGION: 'x' } } }, 'AWS_REGION'],
    ['a malformed variable', { Environment: { Variables: { '1a': 'x' } } }, '1a'],
    ['too many variables', { Environment: { Variables: { AA: 'x'.repeat(300) } } }, '256 bytes'],
    ['a wrong policy tag', { Tags: { 'forkyard:reuse': 'maybe' } }, 'forkyard:reuse'],
    ['a tag of AWS', { Tags: { 'aws:x': '' } }, 'aws:'],
    ['a qualified name', { FunctionName: 'f:1' }, 'qualifier'],
    ['layers', { Layers: ['arn:aws:lambda:eu-test-1:000000000000:layer:l:1'] }, 'Layers'],
    ['tracing', { TracingConfig: { Mode: 'Active' } }, 'TracingConfig'],
    ['a network', { VpcConfig: { SubnetIds: ['subnet-1'], SecurityGroupIds: [] } }, 'VpcConfig'],
    ['a file system', { FileSystemConfigs: [{ Arn: 'a', LocalMountPath: '/mnt/a' }] }, 'FileSystemConfigs'],
    ['an image', { PackageType: 'Image' }, 'PackageType'],
    ['SnapStart', { SnapStart: { ApplyOn: 'PublishedVersions' } }, 'SnapStart'],
    ['a dead-letter queue', { DeadLetterConfig: { TargetArn: 'arn:aws:sqs:x' } }, 'dead-letters'],
    ['JSON logs', { LoggingConfig: { LogFormat: 'JSON' } }, 'LoggingConfig'],
  ])('is refused for %s, by name', async (_case, input, message) => {
    await expect(create(input)).rejects.toMatchObject(invalid(message))
  })

  it('takes members that ask for nothing, as Terraform sends them', async () => {
    const taken = await create({
      VpcConfig: { SubnetIds: [], SecurityGroupIds: [], Ipv6AllowedForDualStack: false },
      Layers: [],
      TracingConfig: { Mode: 'PassThrough' },
      DeadLetterConfig: { TargetArn: '' },
      PackageType: 'Zip',
      KMSKeyArn: '',
      SnapStart: { ApplyOn: 'None' },
      Architectures: [process.arch === 'arm64' ? 'arm64' : 'x86_64'],
      LoggingConfig: { LogFormat: 'Text', LogGroup: `/aws/lambda/${FunctionName}` },
    })
    expect(taken.State).toBe('Active')
  })

  it('is refused for a zip over its limit, to the byte, naming it', async () => {
    const tooMuch = Buffer.alloc(64 * 1024 + 1)
    await expect(create({ Code: { ZipFile: tooMuch } })).rejects.toMatchObject(
      refusal('CodeStorageExceededException', 400, '65536'),
    )
    await expect(create({ Code: { ZipFile: Buffer.alloc(64 * 1024) } })).rejects.toMatchObject(invalid('unzip'))
    await expect(create({ Code: { ZipFile: Buffer.alloc(200 * 1024) } })).rejects.toMatchObject(
      refusal('RequestTooLargeException', 413),
    )
  })
})

describe('GetFunction', () => {
  it('gives a link that downloads the very zip, for ten minutes and for this function', async () => {
    await create({ Tags: { team: 'x' } })
    const { Code, Tags, Configuration } = await client.send(new GetFunctionCommand({ FunctionName: arn() }))
    expect({ Tags, type: Code?.RepositoryType }).toEqual({ Tags: { team: 'x' }, type: 'S3' })
    const link = new URL(Code?.Location ?? '')
    const reply = await fetch(link)
    expect(reply.headers.get('content-type')).toBe('application/zip')
    expect(Buffer.from(await reply.arrayBuffer()).equals(zip)).toBe(true)
    expect(link.searchParams.get('X-Amz-Expires')).toBe('600')
    expect(Configuration?.CodeSha256).toBe(Buffer.from(link.searchParams.get('digest') ?? '', 'hex').toString('base64'))
    link.searchParams.set('digest', '0'.repeat(64))
    expect((await fetch(link)).status).toBe(403)
  })

  it('does not know what is not there', async () => {
    const missing = refusal('ResourceNotFoundException', 404, `Function not found: ${arn()}`)
    await expect(client.send(new GetFunctionCommand({ FunctionName }))).rejects.toMatchObject(missing)
    await create()
    for (const Qualifier of ['7', 'nope', '__proto__', 'constructor'])
      await expect(client.send(new GetFunctionCommand({ FunctionName, Qualifier }))).rejects.toMatchObject(
        refusal('ResourceNotFoundException', 404, `:${Qualifier}`),
      )
  })
})

describe('versions', () => {
  it('are made of $LATEST, once for each change', async () => {
    await create({ Publish: true })
    const publish = async () =>
      (await client.send(new PublishVersionCommand({ FunctionName, Description: 'd' }))).Version
    expect(await publish()).toBe('1')
    await client.send(new UpdateFunctionConfigurationCommand({ FunctionName, MemorySize: 256 }))
    expect(await publish()).toBe('2')
    expect(await publish()).toBe('2')
    const other = await zipOf({ 'index.js': '2' })
    const updated = await client.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: other, Publish: true }))
    expect(updated).toMatchObject({ Version: '3', FunctionArn: arn(':3'), MemorySize: 256 })
    const { Versions } = await client.send(new ListVersionsByFunctionCommand({ FunctionName }))
    expect(Versions?.map(({ Version }) => Version)).toEqual(['$LATEST', '1', '2', '3'])
    const first = await client.send(new GetFunctionConfigurationCommand({ FunctionName, Qualifier: '1' }))
    expect(first.MemorySize).toBe(128)
    expect(new Set(Versions?.map(({ RevisionId }) => RevisionId)).size).toBe(4)
  })

  it('are guarded by code hash and revision', async () => {
    const { RevisionId } = await create()
    const guarded = refusal('PreconditionFailedException', 412)
    await expect(client.send(new PublishVersionCommand({ FunctionName, CodeSha256: 'x' }))).rejects.toMatchObject(
      invalid('CodeSHA256'),
    )
    await expect(client.send(new PublishVersionCommand({ FunctionName, RevisionId: 'x' }))).rejects.toMatchObject(
      guarded,
    )
    await expect(
      client.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: zip, RevisionId: 'x' })),
    ).rejects.toMatchObject(guarded)
    await expect(
      client.send(new UpdateFunctionConfigurationCommand({ FunctionName, RevisionId: 'x' })),
    ).rejects.toMatchObject(guarded)
    expect((await client.send(new PublishVersionCommand({ FunctionName, RevisionId }))).Version).toBe('1')
  })

  it('change nothing in a dry run', async () => {
    const before = await create()
    const other = await zipOf({ 'index.js': 'other' })
    const dry = await client.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: other, DryRun: true }))
    expect(dry.CodeSha256).not.toBe(before.CodeSha256)
    const after = await client.send(new GetFunctionConfigurationCommand({ FunctionName }))
    expect(after.RevisionId).toBe(before.RevisionId)
  })

  it('are deleted one by one, never their numbers again, and not while an alias needs them', async () => {
    await create({ Publish: true })
    await client.send(new CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }))
    const drop = (Qualifier: string) => client.send(new DeleteFunctionCommand({ FunctionName, Qualifier }))
    await expect(drop('1')).rejects.toMatchObject(refusal('ResourceConflictException', 409, 'live'))
    await expect(drop('$LATEST')).rejects.toMatchObject(invalid('$LATEST'))
    await expect(drop('live')).rejects.toMatchObject(invalid('live'))
    await client.send(new DeleteAliasCommand({ FunctionName, Name: 'live' }))
    await drop('1')
    await expect(drop('1')).rejects.toMatchObject(refusal('ResourceNotFoundException', 404))
    expect((await client.send(new PublishVersionCommand({ FunctionName }))).Version).toBe('2')
    await client.send(new DeleteFunctionCommand({ FunctionName }))
    expect((await create({ Publish: true })).Version).toBe('3')
  })

  it('published by many at the same time are one', async () => {
    await create()
    const published = await Promise.all(
      Array.from({ length: 8 }, () => client.send(new PublishVersionCommand({ FunctionName }))),
    )
    expect(new Set(published.map(({ Version }) => Version))).toEqual(new Set(['1']))
  })
})

describe('ListFunctions', () => {
  it('gives all pages, and all versions when asked', async () => {
    await create({ FunctionName: `${FunctionName}a`, Publish: true })
    await create({ FunctionName: `${FunctionName}b` })
    const names: string[] = []
    for await (const { Functions } of paginateListFunctions({ client, pageSize: 2 }, { FunctionVersion: 'ALL' }))
      names.push(...(Functions ?? []).map((each) => `${each.FunctionName} ${each.Version}`))
    expect(names.filter((name) => name.startsWith(FunctionName))).toEqual([
      `${FunctionName}a $LATEST`,
      `${FunctionName}a 1`,
      `${FunctionName}b $LATEST`,
    ])
    expect(names).toEqual([...new Set(names)])
  })
})

describe('aliases', () => {
  beforeEach(async () => {
    await create({ Publish: true })
    await client.send(new UpdateFunctionConfigurationCommand({ FunctionName, MemorySize: 256 }))
    await client.send(new PublishVersionCommand({ FunctionName }))
  })

  it('name a version, share their requests, and are found by it', async () => {
    const made = await client.send(
      new CreateAliasCommand({
        FunctionName,
        Name: 'live',
        FunctionVersion: '1',
        RoutingConfig: { AdditionalVersionWeights: { '2': 0.25 } },
      }),
    )
    expect(made).toMatchObject({ AliasArn: arn(':live'), RoutingConfig: { AdditionalVersionWeights: { '2': 0.25 } } })
    const list = async (FunctionVersion?: string) =>
      (await client.send(new ListAliasesCommand({ FunctionName, ...(FunctionVersion ? { FunctionVersion } : {}) })))
        .Aliases?.length
    expect([await list(), await list('1'), await list('2'), await list('$LATEST')]).toEqual([1, 1, 1, 0])
    const changed = await client.send(
      new UpdateAliasCommand({
        FunctionName,
        Name: 'live',
        FunctionVersion: '2',
        RoutingConfig: {},
        RevisionId: made.RevisionId,
      }),
    )
    expect(changed).toMatchObject({ FunctionVersion: '2' })
    expect(changed.RoutingConfig).toBeUndefined()
    await expect(
      client.send(new UpdateAliasCommand({ FunctionName, Name: 'live', RevisionId: made.RevisionId })),
    ).rejects.toMatchObject(refusal('PreconditionFailedException', 412))
    expect(await client.send(new GetAliasCommand({ FunctionName, Name: 'live' }))).toMatchObject({
      FunctionVersion: '2',
    })
    await client.send(new DeleteAliasCommand({ FunctionName, Name: 'live' }))
    await client.send(new DeleteAliasCommand({ FunctionName, Name: 'live' }))
    await expect(client.send(new GetAliasCommand({ FunctionName, Name: 'live' }))).rejects.toMatchObject(
      refusal('ResourceNotFoundException', 404, 'Cannot find alias'),
    )
  })

  it.each([
    [{ Name: '7', FunctionVersion: '1' }, 'InvalidParameterValueException'],
    [{ Name: 'a.b', FunctionVersion: '1' }, 'InvalidParameterValueException'],
    [{ Name: 'a', FunctionVersion: 'live' }, 'InvalidParameterValueException'],
    [{ Name: 'a', FunctionVersion: '99' }, 'ResourceNotFoundException'],
    [
      { Name: 'a', FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { '99': 0.5 } } },
      'ResourceNotFoundException',
    ],
    [
      { Name: 'a', FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { '1': 0.5 } } },
      'InvalidParameterValueException',
    ],
    [
      { Name: 'a', FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { '2': 1.5 } } },
      'InvalidParameterValueException',
    ],
    [
      { Name: 'a', FunctionVersion: '$LATEST', RoutingConfig: { AdditionalVersionWeights: { '2': 0.5 } } },
      'InvalidParameterValueException',
    ],
  ])('are refused: %j', async (input, name) => {
    await expect(client.send(new CreateAliasCommand({ FunctionName, ...input }))).rejects.toMatchObject({ name })
  })

  it('may have any name of the alphabet', async () => {
    for (const Name of ['__proto__', 'constructor', 'a-b_c']) {
      await client.send(new CreateAliasCommand({ FunctionName, Name, FunctionVersion: '1' }))
      await expect(
        client.send(new CreateAliasCommand({ FunctionName, Name, FunctionVersion: '1' })),
      ).rejects.toMatchObject({
        name: 'ResourceConflictException',
      })
      expect((await client.send(new GetAliasCommand({ FunctionName, Name }))).Name).toBe(Name)
    }
  })
})

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

describe('event invoke configurations', () => {
  it('are absent until put, then changed in part, then gone', async () => {
    await create()
    const get = () => client.send(new GetFunctionEventInvokeConfigCommand({ FunctionName }))
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
    const before = gateway.deps.registry.get('one', FunctionName)
    await client.send(new TagResourceCommand({ Resource: arn(), Tags: { b: '3', 'forkyard:concurrency': '4' } }))
    await client.send(new UntagResourceCommand({ Resource: arn(), TagKeys: ['a', 'none'] }))
    expect((await client.send(new ListTagsCommand({ Resource: arn() }))).Tags).toEqual({
      b: '3',
      'forkyard:concurrency': '4',
    })
    const { latest } = gateway.deps.registry.get('one', FunctionName)
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
    expect(
      (await client.send(new GetFunctionConcurrencyCommand({ FunctionName }))).ReservedConcurrentExecutions,
    ).toBeUndefined()
    expect((await client.send(new GetRuntimeManagementConfigCommand({ FunctionName }))).UpdateRuntimeOn).toBe('Auto')
    expect((await client.send(new GetFunctionRecursionConfigCommand({ FunctionName }))).RecursiveLoop).toBe('Allow')
    const { AccountLimit, AccountUsage } = await client.send(new GetAccountSettingsCommand({}))
    expect(AccountLimit).toMatchObject({ CodeSizeZipped: 64 * 1024, ConcurrentExecutions: 8 })
    expect(AccountUsage?.FunctionCount).toBe(gateway.deps.registry.list('one').length)
  })

  it('of operations that are not here is said to be unknown', async () => {
    const put = new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 1 })
    await expect(client.send(put)).rejects.toMatchObject(refusal('UnknownOperationException', 404))
  })
})
