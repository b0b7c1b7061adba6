import {
  GetFunctionCommand,
  paginateListFunctions,
  waitUntilFunctionActiveV2,
  type CreateFunctionCommandInput,
} from '@aws-sdk/client-lambda'
import { describe, expect, it } from 'vitest'
import {
  gateway,
  client,
  zip,
  FunctionName,
  create,
  refusal,
  invalid,
  arn,
  useControlPlane,
} from '../testing/control-plane.ts'
import { otherAccount } from '../testing/gateway.ts'

useControlPlane()

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
