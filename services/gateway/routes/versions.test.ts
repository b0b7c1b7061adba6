import {
  CreateAliasCommand,
  DeleteAliasCommand,
  DeleteFunctionCommand,
  GetAliasCommand,
  GetFunctionConfigurationCommand,
  ListAliasesCommand,
  ListVersionsByFunctionCommand,
  PublishVersionCommand,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
} from '@aws-sdk/client-lambda'
import { beforeEach, describe, expect, it } from 'vitest'
import { client, zip, FunctionName, create, refusal, invalid, arn, useControlPlane } from '../testing/control-plane.ts'
import { zipOf } from '../testing/gateway.ts'

useControlPlane()

const publish = async () => (await client.send(new PublishVersionCommand({ FunctionName, Description: 'd' }))).Version
const drop = (Qualifier: string) => client.send(new DeleteFunctionCommand({ FunctionName, Qualifier }))
const list = async (FunctionVersion?: string) =>
  (await client.send(new ListAliasesCommand({ FunctionName, ...(FunctionVersion ? { FunctionVersion } : {}) }))).Aliases
    ?.length

describe('versions', () => {
  it('are made of $LATEST, once for each change', async () => {
    await create({ Publish: true })
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
