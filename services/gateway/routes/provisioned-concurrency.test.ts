import {
  CreateAliasCommand,
  DeleteAliasCommand,
  DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand,
  DeleteProvisionedConcurrencyConfigCommand,
  GetAccountSettingsCommand,
  GetProvisionedConcurrencyConfigCommand,
  ListProvisionedConcurrencyConfigsCommand,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutProvisionedConcurrencyConfigCommand,
  TagResourceCommand,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
} from '@aws-sdk/client-lambda'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { FunctionClaim, ProvisionedState } from '../../contracts/claims.ts'
import { followClaims } from '../claims.ts'
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
import { zipOf } from '../testing/gateway.ts'

useControlPlane()

/** What schedulers know of every revision. */
let state: ProvisionedState
beforeEach(() => {
  state = { available: 0, allocated: 0 }
  const capacity = { memoryMiB: 1024, instances: 256, cpus: 2 }
  vi.spyOn(gateway.deps.scheduler, 'nodes').mockImplementation(async () => [
    { nodeId: 'n-1', url: gateway.node.url, accepting: true, capacity },
  ])
  vi.spyOn(gateway.deps.scheduler, 'provisioned').mockImplementation(async (revisions) => revisions.map(() => state))
})
afterEach(async () => {
  vi.restoreAllMocks()
  await client.send(new DeleteFunctionCommand({ FunctionName })).catch(() => undefined)
})

const put = (Qualifier: string, count: number) =>
  client.send(
    new PutProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier, ProvisionedConcurrentExecutions: count }),
  )
const get = (Qualifier: string) => client.send(new GetProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier }))
const remove = (Qualifier: string) =>
  client.send(new DeleteProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier }))
const list = () => client.send(new ListProvisionedConcurrencyConfigsCommand({ FunctionName }))
const alias = (Name: string, FunctionVersion: string) =>
  client.send(new CreateAliasCommand({ FunctionName, Name, FunctionVersion }))
const reserve = (count: number) =>
  client.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: count }))
const publishNext = async () => {
  const code = await zipOf({ 'index.js': `exports.handler = async () => ${Math.random()}` })
  await client.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: code }))
  return (await client.send(new PublishVersionCommand({ FunctionName }))).Version ?? ''
}
const none = refusal('ProvisionedConcurrencyConfigNotFoundException', 404)

const unreserved = async () =>
  (await client.send(new GetAccountSettingsCommand({}))).AccountLimit?.UnreservedConcurrentExecutions

describe('provisioned concurrency', () => {
  it('is set for a version, seen on its way until it is there, listed and removed', async () => {
    await create({ Publish: true })
    const answer = await put('1', 2)
    expect(answer).toMatchObject({
      $metadata: expect.objectContaining({ httpStatusCode: 202 }) as object,
      RequestedProvisionedConcurrentExecutions: 2,
      AvailableProvisionedConcurrentExecutions: 0,
      AllocatedProvisionedConcurrentExecutions: 0,
      Status: 'IN_PROGRESS',
      LastModified: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*\+0000$/) as string,
    })
    state = { available: 1, allocated: 2 }
    expect(await get('1')).toMatchObject({
      AvailableProvisionedConcurrentExecutions: 1,
      AllocatedProvisionedConcurrentExecutions: 2,
      Status: 'IN_PROGRESS',
    })
    state = { available: 2, allocated: 2 }
    expect(await get('1')).toMatchObject({ AvailableProvisionedConcurrentExecutions: 2, Status: 'READY' })
    expect((await list()).ProvisionedConcurrencyConfigs).toMatchObject([
      { FunctionArn: arn(':1'), RequestedProvisionedConcurrentExecutions: 2, Status: 'READY' },
    ])
    state = { available: 0, allocated: 0, problem: 'no room' }
    expect(await get('1')).toMatchObject({ Status: 'FAILED', StatusReason: 'no room' })
    await remove('1')
    await expect(get('1')).rejects.toMatchObject(none)
    await expect(remove('1')).rejects.toMatchObject(none)
    expect((await list()).ProvisionedConcurrencyConfigs).toEqual([])
  })

  it('is of published versions alone, and once for each', async () => {
    await create({ Publish: true })
    await alias('live', '1')
    await alias('test', '$LATEST')
    await expect(put('$LATEST', 1)).rejects.toMatchObject(invalid('unpublished'))
    await expect(put('test', 1)).rejects.toMatchObject(invalid('unpublished'))
    await expect(put('1', 0)).rejects.toMatchObject(invalid())
    await expect(put('9', 1)).rejects.toMatchObject(refusal('ResourceNotFoundException', 404))
    await put('live', 1)
    await expect(put('1', 1)).rejects.toMatchObject(invalid('provisioned already'))
    await expect(
      client.send(new UpdateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '$LATEST' })),
    ).rejects.toMatchObject(invalid('unpublished'))
    await client.send(new DeleteAliasCommand({ FunctionName, Name: 'live' }))
    expect((await list()).ProvisionedConcurrencyConfigs).toEqual([])
    await put('1', 1)
  })

  it('is part of what is reserved for the function, and of the account where nothing is', async () => {
    await create({ Publish: true })
    await put('1', 5)
    expect(await unreserved()).toBe(251)
    await expect(put('1', 157)).rejects.toMatchObject(invalid('below its minimum value of [100]'))
    await reserve(8)
    expect(await unreserved()).toBe(248)
    await expect(put('1', 9)).rejects.toMatchObject(
      invalid('should not be greater than the reservedConcurrentExecution'),
    )
    await expect(reserve(4)).rejects.toMatchObject(invalid('should not be lower'))
    await put('1', 8)
    await client.send(new DeleteFunctionConcurrencyCommand({ FunctionName }))
    expect(await unreserved()).toBe(248)
  })
})

const follow = () => {
  const told: FunctionClaim[] = []
  const { registry } = gateway.deps
  const source = followClaims(registry, { changed: (claim) => told.push(claim), complete: () => undefined })
  return { told, source }
}
const versions = ({ provisioned }: FunctionClaim) =>
  provisioned.map(({ needs, concurrency }) => [needs.revision.version, concurrency])

describe('what schedulers are told', () => {
  it('is nothing of a function that claims nothing, and all of what another does', async () => {
    const { told, source } = follow()
    await create({ Publish: true, MemorySize: 256 })
    expect(told).toEqual([])
    await reserve(3)
    await put('1', 2)
    expect(told.at(-1)).toMatchObject({
      needs: { revision: { tenant: 'default', name: FunctionName }, memoryMiB: 256 },
      reservedConcurrency: 3,
      provisioned: [{ needs: { revision: { version: '1' }, memoryMiB: 256 }, concurrency: 2 }],
    })
    expect(source.all()).toEqual([told.at(-1)])
    await client.send(new DeleteFunctionCommand({ FunctionName }))
    expect(told.at(-1)).toEqual({ needs: told[0]?.needs, provisioned: [] })
    expect(source.all()).toEqual([])
  })

  it('follows the alias, and divides as the alias does', async () => {
    await create({ Publish: true })
    const second = await publishNext()
    await alias('live', '1')
    const { told } = follow()
    await put('live', 10)
    expect(told.map(versions).at(-1)).toEqual([['1', 10]])
    const shift = (weight: number) =>
      client.send(
        new UpdateAliasCommand({
          FunctionName,
          Name: 'live',
          RoutingConfig: { AdditionalVersionWeights: { [second]: weight } },
        }),
      )
    await shift(0.3)
    expect(told.map(versions).at(-1)?.toSorted()).toEqual([
      ['1', 7],
      [second, 3],
    ])
    await client.send(
      new UpdateAliasCommand({
        FunctionName,
        Name: 'live',
        FunctionVersion: second,
        RoutingConfig: { AdditionalVersionWeights: {} },
      }),
    )
    expect(told.map(versions).at(-1)).toEqual([[second, 10]])
  })
})

const tag = (pool: string) => client.send(new TagResourceCommand({ Resource: arn(), Tags: { 'forkyard:pool': pool } }))

describe('the pool of a function', () => {
  it('is one that is there and is for it', async () => {
    const { pools } = gateway.deps.config
    pools.push({ name: 'gpu', minMemoryMiB: 512 }, { name: 'acme', tenants: ['acme'] })
    try {
      await create({ MemorySize: 512 })
      await tag('gpu')
      expect(gateway.deps.registry.get('default', FunctionName).latest.policy.pool).toBe('gpu')
      await expect(tag('acme')).rejects.toMatchObject(invalid('belongs to other tenants'))
      await expect(tag('nowhere')).rejects.toMatchObject(invalid('there is no pool nowhere'))
      await expect(tag('A b')).rejects.toMatchObject(invalid('forkyard:pool'))
    } finally {
      pools.length = 0
    }
  })
})
