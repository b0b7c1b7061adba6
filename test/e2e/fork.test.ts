/** Instances that are forked from a seed of their function: alike in code, apart in everything else. */
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { UpdateFunctionCodeCommand } from '@aws-sdk/client-lambda'
import { describe, expect, it, vi } from 'vitest'
import type { LogRecord, UsageRecord } from '../../services/contracts/usage.ts'
import { createFunction, invoke, lambdaClient, uniqueName, zipOf, type Invoked } from '../support/lambda.ts'
import { leftoversOf, metricOf, pidOf, restartService, seedsOf, storedMessages, withAgentConfig } from './host.ts'
import { installation } from './installation.ts'
import { once, parkedIs, seedOf } from './seeds.ts'

const target = installation()
const client = lambdaClient(target)

const unfit = (): Promise<number> => metricOf(target, 'node-agent', 'forkyard_node_unfit_revisions_total')
const descriptors = (): number => readdirSync(`/proc/${pidOf(target, 'node-agent')}/fd`).length

/** What is just being made ahead is not complete yet. */
const nothingLeft = (): Promise<void> =>
  vi.waitFor(async () => expect(await leftoversOf(target)).toEqual([]), { timeout: 10_000, interval: 100 })

describe('a fork', () => {
  it('answers, parked or not, and is told to caller, log and meter alike', async () => {
    const name = uniqueName('forks')
    await createFunction(
      client,
      name,
      `let n = 0
export const handler = async () => { console.log('out', n); process.stderr.write('err ' + n + '\\n'); return ++n }`,
      { MemorySize: 256 },
    )
    const seen: Invoked[] = []
    for (const start of ['fork', 'fork', 'fork-parked'] as const) {
      seen.push(await invoke(client, name, {}, { LogType: 'Tail', start }))
      await parkedIs(name, seen.length < 3 ? 0 : 1)
    }
    seen.push(await invoke(client, name, {}, { LogType: 'Tail', start: 'fork-parked' }))
    for (const { json, startType, logTail, serverTiming, requestId } of seen) {
      expect([json, startType], serverTiming).toEqual([1, 'fork'])
      expect(logTail).toContain('Start Type: fork')
      expect(logTail).toMatch(new RegExp(`${requestId}\\tINFO\\tout 0\\n`))
      expect(logTail).toContain('err 0\n')
    }
    expect(seen[1]?.serverTiming).toMatch(/fork;dur/)
    // What was forked ahead is no part of the request.
    expect(seen[3]?.serverTiming).not.toMatch(/fork;dur/)
    const warm = await invoke(client, name)
    expect(warm).toMatchObject({ json: 2, startType: 'warm' })
    const expected = [...seen, warm].map(({ requestId, startType }) => [requestId, startType])
    await vi.waitFor(
      async () => {
        const records = await storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${name}.>`)
        expect(records.map(({ invocationId, startType }) => [invocationId, startType])).toEqual(expected)
        expect(new Set(records.map(({ instanceId }) => instanceId)).size).toBe(4)
        const batches = await storedMessages<LogRecord[]>(target, 'LOGS', `logs.*.${name}`)
        const errors = batches.flat().filter(({ line }) => line.startsWith('err 0'))
        expect(errors.map(({ invocationId, stream }) => [invocationId, stream])).toEqual(
          seen.map(({ requestId }) => [requestId, 'stderr']),
        )
      },
      { timeout: 10_000, interval: 200 },
    )
  })

  it('that exits, throws, hangs or needs too much ends alone', async () => {
    const name = uniqueName('bad')
    const source = `import { spawn } from 'node:child_process'
export const handler = async (event) => {
  if (event === 'exit') process.exit(3)
  if (event === 'throw') setTimeout(() => { throw new Error('nobody catches this') }, 1)
  if (event === 'hang') for (;;);
  if (event === 'memory') { const all = []; for (;;) all.push(new Array(10_000).fill(Math.random())) }
  if (event === 'orphan') { spawn('sleep', ['1000'], { detached: true }); process.exit(0) }
  if (event === 'throw') await new Promise(() => {})
  await new Promise((resolve) => setTimeout(resolve, event === 'wait' ? 6000 : 0))
  return process.env.AWS_LAMBDA_LOG_STREAM_NAME
}`
    await createFunction(client, name, source, { Timeout: 10, MemorySize: 128 })
    await invoke(client, name, {}, { start: 'fork' })
    const seed = await seedOf(name)
    const sibling = invoke(client, name, 'wait', { start: 'fork' })
    const outcomes = await Promise.all(
      ['exit', 'throw', 'memory', 'orphan'].map((event) => invoke(client, name, event, { start: 'fork' })),
    )
    expect(outcomes.map(({ startType }) => startType)).toEqual(['fork', 'fork', 'fork', 'fork'])
    expect(outcomes.map(({ json }) => (json as { errorType?: string }).errorType)).toEqual([
      'Runtime.ExitError',
      'Error',
      expect.stringContaining('Memory'),
      'Runtime.ExitError',
    ])
    const hanging = invoke(client, name, 'hang', { start: 'fork' })
    expect(await sibling).toMatchObject({ functionError: undefined, startType: 'fork' })
    expect((await hanging).json).toMatchObject({ errorMessage: expect.stringContaining('timed out') })
    expect(await invoke(client, name, {}, { start: 'fork' })).toMatchObject({ startType: 'fork' })
    expect((await seedOf(name))?.seedId).toBe(seed?.seedId)
  })

  it.each([
    ['timer', 'setInterval(() => {}, 1000)'],
    ['server', `import net from 'node:net'; net.createServer().listen(0, '127.0.0.1')`],
    [
      'worker',
      `import { Worker } from 'node:worker_threads'; new Worker('setInterval(() => {}, 1000)', { eval: true })`,
    ],
  ])('is not made of a function whose initialisation opens a %s', async (reason, source) => {
    const name = uniqueName('unfit')
    await createFunction(client, name, `${source}\nexport const handler = async () => 'served'`, { MemorySize: 256 })
    const before = await unfit()
    for (let time = 0; time < 2; time++)
      expect(await invoke(client, name, {}, { start: 'fork' }), reason).toMatchObject({
        json: 'served',
        startType: 'restore',
      })
    expect(await unfit()).toBe(before + 1)
    expect(await seedOf(name)).toBe(undefined)
  })

  it('that has to fail at its initialisation tells the function’s own error', async () => {
    const name = uniqueName('broken')
    await createFunction(client, name, `throw new Error('from the top')\nexport const handler = 1`)
    expect(await invoke(client, name, {}, { start: 'fork' })).toMatchObject({
      functionError: 'Unhandled',
      json: { errorMessage: 'from the top' },
    })
  })
})

describe('a seed', () => {
  it('is replaced by a deploy', async () => {
    const name = uniqueName('deployed')
    await createFunction(client, name, `export const handler = async () => 'old'`)
    expect((await invoke(client, name, {}, { start: 'fork-parked' })).json).toBe('old')
    await parkedIs(name, 1)
    const old = await seedOf(name)
    const ZipFile = await zipOf({ 'index.mjs': `export const handler = async () => 'new'` })
    await client.send(new UpdateFunctionCodeCommand({ FunctionName: name, ZipFile }))
    expect(await invoke(client, name, {}, { start: 'fork-parked' })).toMatchObject({ json: 'new', startType: 'fork' })
    await vi.waitFor(
      async () => expect((await seedsOf(target)).map(({ seedId }) => seedId)).not.toContain(old?.seedId),
      { timeout: 10_000, interval: 100 },
    )
  })

  it('and its parked forks are made for a function that was called, renewed when worn, and ended when idle', async () => {
    const name = uniqueName('kept')
    await createFunction(client, name, `export const handler = async () => 1`, { Tags: once })
    const change = { seeds: 1, parkedForks: 2, renewSeedAfterForks: 6, seedIdleMs: 4000 }
    await withAgentConfig(
      target,
      (config) => ({ ...config, ...change }),
      async () => {
        expect((await invoke(client, name)).startType).not.toBe('fork')
        await parkedIs(name, 2)
        const first = await seedOf(name)
        for (let time = 0; time < 8; time++) {
          expect((await invoke(client, name)).startType).toBe('fork')
          await parkedIs(name, 2)
        }
        // The old one serves until the new one is there.
        await vi.waitFor(
          async () => {
            const seeds = await seedsOf(target)
            expect(seeds).toHaveLength(1)
            expect(seeds[0]?.seedId).not.toBe(first?.seedId)
          },
          { timeout: 10_000, interval: 50 },
        )
        expect((await invoke(client, name)).startType).toBe('fork')
        await vi.waitFor(async () => expect(await seedsOf(target)).toEqual([]), { timeout: 15_000, interval: 100 })
        await nothingLeft()
      },
    )
  })

  it('and its forks are gone after the agent was killed', async () => {
    const name = uniqueName('killed')
    await createFunction(client, name, `export const handler = async () => 1`)
    await invoke(client, name, {}, { start: 'fork-parked' })
    await parkedIs(name, 1)
    await restartService(target, 'node-agent', 'SIGKILL')
    expect(await seedsOf(target)).toEqual([])
    await nothingLeft()
    expect(await invoke(client, name, {}, { start: 'fork' })).toMatchObject({ json: 1, startType: 'fork' })
  })

  it('leaves nothing behind in 200 forks: neither processes, nor descriptors of the agent', async () => {
    const name = uniqueName('soak')
    const source = `import { readdirSync } from 'node:fs'
export const handler = async () => readdirSync('/proc').filter((entry) => /^\\d+$/.test(entry)).length`
    await createFunction(client, name, source, { Tags: once })
    let before = 0
    for (let round = 0; round < 50; round++) {
      const four = await Promise.all(Array.from({ length: 4 }, () => invoke(client, name, {}, { start: 'fork' })))
      for (const { startType, json, text } of four) {
        expect(startType, text).toBe('fork')
        // The seed, the four, and those of the round before that are about to end.
        expect(json).toBeLessThanOrEqual(9)
      }
      if (round === 4) {
        await delay(500)
        before = descriptors()
      }
    }
    await vi.waitFor(async () => expect(await seedOf(name)).toMatchObject({ children: 0 }), {
      timeout: 10_000,
      interval: 50,
    })
    const { forks = 0 } = (await seedOf(name)) ?? {}
    expect(forks).toBeGreaterThanOrEqual(200)
    // A start that a busy machine did not hear of in time is placed again.
    expect(forks).toBeLessThanOrEqual(204)
    await delay(500)
    expect(descriptors()).toBeLessThanOrEqual(before + 4)
    await nothingLeft()
  })
})
