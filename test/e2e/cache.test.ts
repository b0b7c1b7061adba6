/** What is held for requests to come: as each function's habits make it worth, told before it is used, given back, and nothing in strict-cold. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { DeleteFunctionCommand } from '@aws-sdk/client-lambda'
import { describe, expect, it, vi } from 'vitest'
import { signedFetch } from '../../services/cli/signed-fetch.ts'
import type { InstanceReport, NodeExplanation } from '../../services/contracts/node.ts'
import type { Explanation, StartType } from '../../services/contracts/placement.ts'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'
import { decide } from '../../services/node-agent/node-scheduler/cache/decide.ts'
import type { CacheInput } from '../../services/node-agent/node-scheduler/cache/input.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import { cacheOf, leftoversOf, metricOf, seedsOf, serviceRequest, withAgentConfig } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)
const handler = `export const handler = async () => process.env.AWS_LAMBDA_LOG_STREAM_NAME`
const patience = { timeout: 60_000, interval: 100 }

interface Told {
  readonly next: Explanation
  readonly startType?: StartType
  readonly startReason?: string
  readonly nodes: readonly NodeExplanation[]
}

const explain = async (name: string): Promise<Told> =>
  (await (await signedFetch(target, { path: `/forkyard/v1/functions/${name}/explain` })).json()) as Told

const levelOf = ({ nodes }: Told, level: NodeExplanation['levels'][number]['level']) =>
  nodes[0]?.levels.find((one) => one.level === level)

/** Asks, then calls: the answer has to be what was told. */
const callAsTold = async (name: string): Promise<StartType | undefined> => {
  const told = await explain(name)
  const { startType, serverTiming } = await invoke(client, name)
  expect(startType, `${JSON.stringify(told)}\n${serverTiming}`).toBe(told.startType)
  return told.startType
}

const instancesOf = async (name: string): Promise<InstanceReport[]> => {
  const all = (await (await serviceRequest(target, 'node-agent', '/v1/instances')).json()) as InstanceReport[]
  return all.filter(({ revision, state }) => revision.name === name && state !== 'ended')
}

const gone = (name: string): Promise<void> =>
  vi.waitFor(async () => expect(await instancesOf(name)).toEqual([]), { timeout: 10_000, interval: 20 })

const startsOf = async (): Promise<Map<string, { count: number; p50Ms: number; p99Ms: number }>> => {
  const reply = await signedFetch(target, { path: '/forkyard/v1/status' })
  const { starts } = (await reply.json()) as {
    starts: { startType: string; count: number; p50Ms: number; p99Ms: number }[]
  }
  return new Map(starts.map((start) => [start.startType, start]))
}

const evicted = (): Promise<number> => metricOf(target, 'node-agent', 'forkyard_node_cache_evictions_total')

const withCache = (change: Partial<NodeAgentConfig>, use: () => Promise<void>): Promise<void> =>
  withAgentConfig(target, (config) => ({ ...config, ...change }), use)

describe('the cache', () => {
  it('keeps an instance of a function that is called regularly, and tells so before', async () => {
    const name = uniqueName('regular')
    await createFunction(client, name, handler)
    const before = await startsOf()
    expect(await callAsTold(name)).toBe('restore')
    for (let time = 0; time < 5; time++) {
      await vi.waitFor(async () => expect((await explain(name)).next.decision).toBe('idle'), patience)
      await delay(300)
      expect(await callAsTold(name)).toBe('warm')
    }
    await vi.waitFor(async () => {
      const idle = levelOf(await explain(name), 'idle')
      expect(idle).toMatchObject({ held: 1, wanted: 1, reason: expect.stringMatching(/^5 idle times seen; .* odds/) })
      expect(idle?.keepAliveMs).toBeGreaterThan(300)
      const input = (await explain(name)).nodes[0]?.input as CacheInput | undefined
      expect(input?.revisions.map(({ key }) => key.split('/')[1])).toEqual([name])
    }, patience)
    const after = await startsOf()
    for (const [startType, calls] of [
      ['restore', 1],
      ['warm', 5],
    ] as const) {
      const { count = 0, p50Ms = 0, p99Ms = 0 } = after.get(startType) ?? {}
      expect(count).toBe((before.get(startType)?.count ?? 0) + calls)
      expect(p50Ms).toBeGreaterThan(0)
      expect(p99Ms).toBeGreaterThanOrEqual(p50Ms)
    }
  })

  it('has a decision that anybody can make again from its input', async () => {
    const reply = await serviceRequest(target, 'node-agent', '/v1/cache')
    const { input, decision } = (await reply.json()) as { input: CacheInput; decision: unknown }
    expect(input.revisions.length).toBeGreaterThan(0)
    expect(JSON.parse(JSON.stringify(decide(input)))).toEqual(decision)
  })

  it('makes a seed and parks a fork for a function whose instances are not used again, while it is called', async () => {
    const name = uniqueName('once')
    await createFunction(client, name, handler, { Tags: { 'forkyard:reuse': 'false', 'forkyard:fork': 'true' } })
    for (let time = 0; time < 8; time++) await invoke(client, name)
    await vi.waitFor(async () => {
      await invoke(client, name)
      expect(levelOf(await explain(name), 'parkedFork')?.held).toBeGreaterThan(0)
    }, patience)
    expect(await callAsTold(name)).toBe('fork')
    await client.send(new DeleteFunctionCommand({ FunctionName: name }))
    await vi.waitFor(async () => expect(await seedsOf(target)).toEqual([]), patience)
    await vi.waitFor(async () => expect(await leftoversOf(target)).toEqual([]), patience)
  })

  it('makes no seed of a function that does not allow forks', async () => {
    const name = uniqueName('never')
    await createFunction(client, name, handler, { Tags: { 'forkyard:reuse': 'false' } })
    for (let time = 0; time < 8; time++) await invoke(client, name)
    await vi.waitFor(async () => {
      const seed = levelOf(await explain(name), 'seed')
      expect(seed).toMatchObject({ held: 0, wanted: 0, reason: expect.stringContaining('allows forks') })
    }, patience)
    expect(await seedsOf(target)).toEqual([])
  })

  it('gives its memory to instances that need it', async () => {
    const change = { capacity: { memoryMiB: 600, instances: 64 }, precreatedSandboxes: 3, parkedRestores: 2 }
    await withCache(change, async () => {
      await vi.waitFor(async () => expect((await cacheOf(target)).heldMiB).toBeGreaterThan(150), patience)
      const before = await evicted()
      const name = uniqueName('needs')
      const source = `export const handler = async () => { await new Promise((done) => setTimeout(done, 3000)); return 1 }`
      await createFunction(client, name, source, { MemorySize: 128 })
      const answers = await Promise.all(Array.from({ length: 4 }, () => invoke(client, name)))
      expect(answers.map(({ json }) => json)).toEqual([1, 1, 1, 1])
      expect(await evicted()).toBeGreaterThan(before)
    })
  })
})

describe('strict-cold', () => {
  it('leaves nothing of a function after its answer, and starts it anew each time', async () => {
    const name = uniqueName('cold')
    await createFunction(client, name, handler, { Tags: { 'forkyard:cache': 'strict-cold' } })
    const seen = new Set<unknown>()
    for (let time = 0; time < 3; time++) {
      const told = await explain(name)
      expect(told).toMatchObject({ startType: 'restore', startReason: 'a checkpoint of the runtime is here' })
      const { startType, json } = await invoke(client, name)
      expect(startType).toBe('restore')
      seen.add(json)
      await gone(name)
    }
    expect(seen.size).toBe(3)
    const told = await explain(name)
    expect(told.nodes[0]?.mode).toBe('strict-cold')
    expect(told.nodes[0]?.levels.map(({ held, wanted }) => [held, wanted])).toEqual(
      Array.from({ length: 5 }, () => [0, 0]),
    )
    await vi.waitFor(async () => expect(await leftoversOf(target)).toEqual([]), patience)
  })

  it('of the node keeps no sandbox at all, whatever functions and numbers say', async () => {
    const name = uniqueName('allcold')
    await createFunction(client, name, handler, { Tags: { 'forkyard:keep-alive-ms': '60000' } })
    await withCache({ cache: { mode: 'strict-cold', forks: true }, precreatedSandboxes: 2, seeds: 2 }, async () => {
      expect(await callAsTold(name)).toBe('restore')
      await vi.waitFor(
        async () => {
          const { slots } = await cacheOf(target)
          expect(readdirSync(join(target.runDir, 'i')).filter((id) => !slots.includes(id))).toEqual([])
        },
        { timeout: 20_000, interval: 50 },
      )
      expect(await cacheOf(target)).toMatchObject({ prepared: 0, heldMiB: 0 })
    })
  })
})
