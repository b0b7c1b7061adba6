/** Every service survives the death and the restart of every other one, and of NATS. */
import { PutFunctionEventInvokeConfigCommand } from '@aws-sdk/client-lambda'
import { setTimeout as delay } from 'node:timers/promises'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import type { InstanceReport } from '../../services/contracts/node.ts'
import type { UsageRecord } from '../../services/contracts/usage.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../support/lambda.ts'
import {
  allReady,
  leftoversOf,
  pidOf,
  restartService,
  serviceRequest,
  services,
  storedMessages,
  type Service,
} from './host.ts'
import { installation } from './installation.ts'

const target = installation()
const client = lambdaClient(target)
const name = uniqueName('survivor')

beforeAll(async () => {
  await createFunction(client, name, `export const handler = async (event) => event`, { MemorySize: 128 })
})

const pidsWithout = (service: Service): Record<string, number> =>
  Object.fromEntries(services.filter((other) => other !== service).map((other) => [other, pidOf(target, other)]))

describe.each(services)('after kill -9 of %s', (service) => {
  it('the others run on, requests are answered again, and nothing is left over', async () => {
    await invoke(client, name)
    const others = pidsWithout(service)
    await restartService(target, service, 'SIGKILL')
    await vi.waitFor(
      async () => expect((await invoke(client, name, { after: service })).json).toEqual({ after: service }),
      {
        timeout: 30_000,
        interval: 200,
      },
    )
    expect(pidsWithout(service)).toEqual(others)
    await vi.waitFor(async () => expect(await leftoversOf(target)).toEqual([]), { timeout: 30_000, interval: 500 })
  })

  it('under load, every request gets an answer or a typed error', async () => {
    const stop = new AbortController()
    const outcomes: string[] = []
    const caller = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        try {
          const { functionError } = await invoke(client, name, { x: 1 })
          outcomes.push(functionError ?? 'ok')
        } catch (error) {
          const { name: type, $metadata } = error as { name: string; $metadata?: { httpStatusCode?: number } }
          // The gateway itself may be away: then nobody answers at all.
          outcomes.push($metadata?.httpStatusCode ? type : 'no connection')
        }
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    const callers = [caller(), caller(), caller()]
    await restartService(target, service, 'SIGKILL')
    await vi.waitFor(() => expect(outcomes.slice(-10)).toEqual(Array.from({ length: 10 }, () => 'ok')), {
      timeout: 30_000,
      interval: 200,
    })
    stop.abort()
    await Promise.all(callers)
    const known = ['ok', 'Unhandled', 'ServiceException', 'EC2ThrottledException', 'TooManyRequestsException']
    const allowed = service === 'gateway' ? [...known, 'no connection'] : known
    expect(outcomes.filter((outcome) => !allowed.includes(outcome))).toEqual([])
  })
})

describe('a graceful stop', () => {
  it.each(['gateway', 'scheduler', 'node-agent'] as const)('of %s lets a request in flight finish', async (service) => {
    const slow = uniqueName('slow')
    await createFunction(
      client,
      slow,
      `export const handler = async () => { await new Promise((r) => setTimeout(r, 2000)); return 'finished' }`,
    )
    const answer = invoke(client, slow)
    await new Promise((resolve) => setTimeout(resolve, 1000))
    await restartService(target, service, 'SIGTERM')
    expect((await answer).json).toBe('finished')
  })
})

describe('events', () => {
  it('that were accepted are executed, whatever is killed meanwhile', async () => {
    const counter = uniqueName('events')
    await createFunction(client, counter, `export const handler = async (event) => event.n`, { MemorySize: 128 })
    await client.send(new PutFunctionEventInvokeConfigCommand({ FunctionName: counter, MaximumRetryAttempts: 2 }))
    const accepted: string[] = []
    const send = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n++) {
        const { requestId, status } = await invoke(client, counter, { n }, { InvocationType: 'Event' })
        expect(status).toBe(202)
        accepted.push(requestId)
      }
    }
    for (const service of ['node-agent', 'gateway', 'nats', 'scheduler'] as const) {
      await send(10)
      await restartService(target, service, 'SIGKILL')
    }
    await send(10)
    await vi.waitFor(
      async () => {
        const records = await storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${counter}.>`)
        const done = new Set(records.filter(({ outcome }) => outcome === 'ok').map(({ invocationId }) => invocationId))
        expect(accepted.filter((id) => !done.has(id))).toEqual([])
      },
      { timeout: 90_000, interval: 500 },
    )
  }, 240_000)
})

describe('usage', () => {
  it('of an invocation whose agent was killed is recorded once, as lost', async () => {
    const victim = uniqueName('victim')
    await createFunction(client, victim, `export const handler = async () => new Promise((r) => setTimeout(r, 20_000))`)
    const answer = invoke(client, victim).catch((error: unknown) => error)
    await vi.waitFor(
      async () => {
        const reply = await serviceRequest(target, 'node-agent', '/v1/instances')
        const instances = (await reply.json()) as InstanceReport[]
        expect(instances.find(({ revision }) => revision.name === victim)?.state).toBe('busy')
      },
      { timeout: 20_000, interval: 50 },
    )
    // At least one sign of life later.
    await delay(1500)
    await restartService(target, 'node-agent', 'SIGKILL')
    expect(await answer).toMatchObject({ $metadata: { httpStatusCode: 502 } })
    await allReady(target)
    await vi.waitFor(
      async () => {
        const records = await storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${victim}.>`)
        expect(records.map(({ outcome }) => outcome)).toEqual(['lost'])
        expect(records[0]?.billedMs).toBeGreaterThan(0)
      },
      { timeout: 20_000, interval: 250 },
    )
  })

  it('is recorded once for each invocation, good and bad', async () => {
    const metered = uniqueName('metered')
    await createFunction(
      client,
      metered,
      `export const handler = async (event) => { if (event.fail) throw new Error('no'); await new Promise((r) => setTimeout(r, event.ms)) }`,
    )
    const sent: string[] = []
    for (const event of [{ ms: 1 }, { ms: 50 }, { fail: true }, { ms: 200 }])
      sent.push((await invoke(client, metered, event)).requestId)
    await vi.waitFor(
      async () => {
        const records = await storedMessages<UsageRecord>(target, 'USAGE', `usage.*.${metered}.>`)
        expect(records.map(({ invocationId }) => invocationId)).toEqual(sent)
        expect(records.map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'function-error', 'ok'])
        const billed = records.map(({ billedMs }) => billedMs)
        expect(billed[1]).toBeGreaterThanOrEqual(50)
        expect(billed[3]).toBeGreaterThanOrEqual(200)
        for (const record of records)
          expect(record).toMatchObject({ name: metered, version: '$LATEST', memoryMiB: 128 })
      },
      { timeout: 10_000, interval: 200 },
    )
  })
})
