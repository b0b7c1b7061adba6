/** Provisioned and reserved concurrency on real sandboxes, through AWS's own SDK: instances that are there before anybody calls, and room that nobody else gets. */
import { setTimeout as delay } from 'node:timers/promises'
import {
  CreateAliasCommand,
  DeleteFunctionCommand,
  DeleteProvisionedConcurrencyConfigCommand,
  GetProvisionedConcurrencyConfigCommand,
  ListProvisionedConcurrencyConfigsCommand,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutProvisionedConcurrencyConfigCommand,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
} from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { NodeView } from '../../services/scheduler/routes/nodes.ts'
import { createFunction, invoke, lambdaClient, uniqueName, zipOf } from '../support/lambda.ts'
import { restartService, serviceRequest } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)
const FunctionName = uniqueName('provisioned')
/** `id` is of the process: what was initialised before any call has one already. */
const source = (word: string) => `import { setTimeout as sleep } from 'node:timers/promises'
const initialisedAt = Date.now()
export const handler = async ({ holdMs = 0, die }) => {
  if (die) process.exit(1)
  await sleep(holdMs)
  return { word: '${word}', initialisedAt }
}`

const put = (Qualifier: string, ProvisionedConcurrentExecutions: number) =>
  client.send(new PutProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier, ProvisionedConcurrentExecutions }))
const get = (Qualifier: string) => client.send(new GetProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier }))
const untilReady = (Qualifier: string, count: number) =>
  vi.waitFor(
    async () =>
      expect(await get(Qualifier)).toMatchObject({
        Status: 'READY',
        RequestedProvisionedConcurrentExecutions: count,
        AvailableProvisionedConcurrentExecutions: count,
        AllocatedProvisionedConcurrentExecutions: count,
      }),
    { timeout: 60_000, interval: 200 },
  )

const nodes = async (): Promise<NodeView[]> => {
  const reply = await serviceRequest(target, 'scheduler', '/v1/nodes')
  return ((await reply.json()) as { nodes: NodeView[] }).nodes
}
/** Ids of the instances of a version. */
const instancesOf = async (version: string): Promise<string[]> =>
  (await nodes())
    .flatMap(({ instances }) => instances)
    .filter(({ revision }) => revision.name === FunctionName && revision.version === version)
    .map(({ instanceId }) => instanceId)

beforeAll(async () => {
  // Nothing is kept for its history: what stays is what is provisioned.
  await createFunction(client, FunctionName, source('one'), {
    Publish: true,
    Tags: { 'forkyard:cache': 'strict-cold' },
  })
  await client.send(new CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }))
})
afterAll(async () => {
  await client.send(new DeleteFunctionCommand({ FunctionName })).catch(() => undefined)
})

describe('provisioned concurrency', () => {
  it('makes instances before anybody calls, and calls get them', async () => {
    const answer = await put('live', 2)
    expect(answer).toMatchObject({ $metadata: { httpStatusCode: 202 }, Status: 'IN_PROGRESS' })
    await untilReady('live', 2)
    const calledAt = Date.now()
    const calls = [1, 2].map(() => invoke(client, FunctionName, { holdMs: 1_000 }, { Qualifier: 'live' }))
    for (const { startType, json } of await Promise.all(calls)) {
      expect(startType).toBe('warm')
      expect((json as { initialisedAt: number }).initialisedAt).toBeLessThan(calledAt)
    }
    const listed = await client.send(new ListProvisionedConcurrencyConfigsCommand({ FunctionName }))
    expect(listed.ProvisionedConcurrencyConfigs).toMatchObject([{ Status: 'READY' }])
  })

  it('goes on with instances of the moment above its number, which do not stay', async () => {
    const calls = [1, 2, 3].map(() => invoke(client, FunctionName, { holdMs: 2_000 }, { Qualifier: 'live' }))
    const types = (await Promise.all(calls)).map(({ startType }) => startType)
    expect(types.filter((type) => type === 'warm')).toHaveLength(2)
    await vi.waitFor(async () => expect(await instancesOf('1')).toHaveLength(2), { timeout: 20_000, interval: 200 })
  })

  it('replaces an instance that died', async () => {
    const before = await instancesOf('1')
    await invoke(client, FunctionName, { die: true }, { Qualifier: 'live' })
    await vi.waitFor(
      async () => {
        const now = await instancesOf('1')
        expect(now).toHaveLength(2)
        expect(now.filter((id) => before.includes(id))).toHaveLength(1)
      },
      { timeout: 30_000, interval: 200 },
    )
    await untilReady('live', 2)
  })

  it('outlives the scheduler, which ends none of them for want of knowing', async () => {
    const before = await instancesOf('1')
    await restartService(target, 'scheduler', 'SIGKILL')
    await untilReady('live', 2)
    await delay(2_000)
    expect((await instancesOf('1')).toSorted()).toEqual(before.toSorted())
  })

  it('is made anew when the node’s agent was killed', async () => {
    await restartService(target, 'node-agent', 'SIGKILL')
    await untilReady('live', 2)
    const { startType } = await invoke(client, FunctionName, {}, { Qualifier: 'live' })
    expect(startType).toBe('warm')
  })

  it('moves with the alias', async () => {
    await client.send(
      new UpdateFunctionCodeCommand({ FunctionName, ZipFile: await zipOf({ 'index.mjs': source('two') }) }),
    )
    await client.send(new PublishVersionCommand({ FunctionName }))
    await client.send(new UpdateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '2' }))
    await untilReady('live', 2)
    const { startType, json } = await invoke(client, FunctionName, {}, { Qualifier: 'live' })
    expect([startType, (json as { word: string }).word]).toEqual(['warm', 'two'])
    await vi.waitFor(async () => expect(await instancesOf('1')).toEqual([]), { timeout: 20_000, interval: 200 })
    expect(await instancesOf('2')).toHaveLength(2)
  })

  it('is over when it is deleted', async () => {
    await client.send(new DeleteProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier: 'live' }))
    await expect(get('live')).rejects.toMatchObject({ name: 'ProvisionedConcurrencyConfigNotFoundException' })
    await vi.waitFor(async () => expect(await instancesOf('2')).toEqual([]), { timeout: 20_000, interval: 200 })
  })
})

describe('reserved concurrency', () => {
  it('keeps its room free of others, who are refused, and the function has it', async () => {
    const [node] = await nodes()
    if (!node) throw new Error('there is no node')
    // All but 3072 MiB are one function's; of them a second one gets a first instance of 2048, and no second.
    const MemorySize = 2048
    const places = Math.floor((node.capacity.memoryMiB - node.usedMemoryMiB - 3072) / MemorySize)
    const [own, other] = [uniqueName('own'), uniqueName('other')]
    const strict = { MemorySize, Tags: { 'forkyard:cache': 'strict-cold' } }
    await createFunction(client, own, source('own'), strict)
    await createFunction(client, other, source('other'), strict)
    const hold = (name: string, holdMs: number) => invoke(client, name, { holdMs })
    try {
      expect((await hold(other, 0)).status).toBe(200)
      await client.send(new PutFunctionConcurrencyCommand({ FunctionName: own, ReservedConcurrentExecutions: places }))
      await vi.waitFor(async () => {
        const first = hold(other, 3_000)
        await delay(300)
        await expect(hold(other, 0)).rejects.toMatchObject({ name: 'EC2ThrottledException' })
        await first
      }, 30_000)
      expect((await hold(own, 0)).status).toBe(200)
    } finally {
      for (const name of [own, other]) await client.send(new DeleteFunctionCommand({ FunctionName: name }))
    }
  })
})
