/** How instances come to be: by which start type, how many, for how long. */
import { describe, expect, it, vi } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import type { InstanceReport } from '../../services/contracts/node.ts'
import type { UsageRecord } from '../../services/contracts/usage.ts'
import { serviceRequest, storedMessages } from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)

const instancesOf = async (name: string): Promise<InstanceReport[]> => {
  const all = (await (await serviceRequest(target, 'node-agent', '/v1/instances')).json()) as InstanceReport[]
  return all.filter(({ revision, state }) => revision.name === name && state !== 'ended')
}

describe('a start', () => {
  it('is of the type that was asked for, told to caller, log and meter alike', async () => {
    const name = uniqueName('starts')
    await createFunction(client, name, `export const handler = async () => 'ok'`)
    const seen: [string, string][] = []
    for (const start of ['boot', 'restore', 'restore-precreated', 'restore-parked', undefined] as const) {
      const {
        startType = '',
        logTail,
        requestId,
      } = await invoke(client, name, {}, { LogType: 'Tail', ...(start ? { start } : {}) })
      expect(logTail).toContain(`Start Type: ${startType}`)
      seen.push([requestId, startType])
    }
    expect(seen.map(([, startType]) => startType)).toEqual(['boot', 'restore', 'restore', 'restore', 'warm'])
    await vi.waitFor(
      async () => {
        const records = await storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${name}.>`)
        expect(records.map(({ invocationId, startType }) => [invocationId, startType])).toEqual(seen)
      },
      { timeout: 10_000, interval: 200 },
    )
  })
})

describe('instances', () => {
  it('are no more than the requests of a burst need', async () => {
    const name = uniqueName('burst')
    const source = `export const handler = async () => { await new Promise((r) => setTimeout(r, 1500)); return process.env.AWS_LAMBDA_LOG_STREAM_NAME }`
    await createFunction(client, name, source, { MemorySize: 128, Tags: { 'forkyard:concurrency': '4' } })
    const answers = await Promise.all(Array.from({ length: 8 }, () => invoke(client, name)))
    expect(answers.every(({ functionError }) => functionError === undefined)).toBe(true)
    expect(new Set(answers.map(({ json }) => json)).size).toBeLessThanOrEqual(2)
  })

  it('serve one request at a time unless the function says otherwise', async () => {
    const name = uniqueName('single')
    const source = `let busy = 0
export const handler = async () => { busy++; await new Promise((r) => setTimeout(r, 100)); return busy-- }`
    await createFunction(client, name, source, { MemorySize: 128 })
    const answers = await Promise.all(Array.from({ length: 6 }, () => invoke(client, name)))
    expect(answers.map(({ json }) => json)).toEqual([1, 1, 1, 1, 1, 1])
  })

  it('end after their keep-alive', async () => {
    const name = uniqueName('short')
    await createFunction(client, name, `export const handler = async () => 1`, {
      Tags: { 'forkyard:keep-alive-ms': '300' },
    })
    await invoke(client, name)
    expect(await instancesOf(name)).toHaveLength(1)
    await vi.waitFor(async () => expect(await instancesOf(name)).toEqual([]), { timeout: 10_000, interval: 100 })
  })

  it('end after one request when they are not to be reused', async () => {
    const name = uniqueName('once')
    await createFunction(client, name, `let n = 0; export const handler = async () => ++n`, {
      Tags: { 'forkyard:reuse': 'false' },
    })
    expect([(await invoke(client, name)).json, (await invoke(client, name)).json]).toEqual([1, 1])
    await vi.waitFor(async () => expect(await instancesOf(name)).toEqual([]), { timeout: 10_000, interval: 100 })
  })
})
