import { setTimeout as delay } from 'node:timers/promises'
import { CreateFunctionCommand } from '@aws-sdk/client-lambda'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { LogRecord } from '../../contracts/usage.ts'
import type { StoredLetter } from '../async/dead-letters.ts'
import type { TailOptions } from '../logs/tail.ts'
import { otherAccount, roleArn, startGateway, zipOf, account, type TestGateway } from '../testing/gateway.ts'
import { signHeaders } from '../testing/signed-head.ts'

let gateway: TestGateway
let tails: TailOptions[]
/** Log records, in batches, as the store would give them; `wait` goes on until the reader leaves. */
let batches: (readonly LogRecord[] | 'wait' | 'broken')[]
let ended: number
let asked: unknown[]

const record = (line: string): LogRecord => ({ at: 5, version: '1', instanceId: 'i', stream: 'stdout', line })
const letter: StoredLetter = {
  seq: 7,
  letter: {
    invocationId: 'id-1',
    tenant: 'default',
    name: 'f',
    acceptedAt: 1,
    failedAt: 2,
    attempts: 3,
    error: { type: 'Unhandled', message: 'm' },
  },
  payload: Buffer.from('{}'),
}

beforeEach(async () => {
  tails = []
  batches = []
  ended = 0
  asked = []
  gateway = await startGateway({
    deps: {
      logs: {
        async *read(options) {
          tails.push(options)
          try {
            for (const batch of batches) {
              if (batch === 'broken') throw new Error('the store is away')
              if (batch !== 'wait') yield batch
              else await delay(60_000, undefined, { signal: options.signal }).catch(() => undefined)
            }
          } finally {
            ended++
          }
        },
      },
      deadLetters: {
        list: async (...args) => {
          asked.push(args)
          return args[2] <= 7 ? [letter] : []
        },
        redrive: async (...args) => {
          asked.push(args)
          return [{ invocationId: 'new', redriveOf: 'id-1' }]
        },
      },
    },
  })
  const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
  const command = { FunctionName: 'f', Role: roleArn, Runtime: 'nodejs24.x', Handler: 'index.handler', Code } as const
  await gateway.client().send(new CreateFunctionCommand(command))
})
afterEach(async () => {
  expect(gateway.problems).toEqual([])
  await gateway.close()
})

const call = async (
  target: string,
  {
    method = 'GET',
    body = '',
    credentials = account,
    signal,
  }: { method?: string; body?: string; credentials?: typeof account; signal?: AbortSignal } = {},
) => {
  const { host: _host, ...headers } = await signHeaders(gateway.port, method, target, body, { credentials })
  return fetch(gateway.url + target, { method, headers, ...(body ? { body } : {}), ...(signal ? { signal } : {}) })
}

describe('the log of a function', () => {
  const logs = '/forkyard/v1/functions/f/logs'

  it('is one record a line, and ends', async () => {
    batches = [[record('a'), record('b')], [], [record('c\nd')]]
    const reply = await call(`${logs}?since=4`)
    expect(reply.headers.get('content-type')).toBe('application/x-ndjson')
    const lines = (await reply.text())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as LogRecord)
    expect(lines.map(({ line }) => line)).toEqual(['a', 'b', 'c\nd'])
    expect(tails).toEqual([expect.objectContaining({ tenant: 'default', name: 'f', since: 4, follow: false })])
    expect(ended).toBe(1)
  })

  it('is the caller’s own', async () => {
    expect((await call(logs, { credentials: otherAccount })).status).toBe(404)
    expect((await call('/forkyard/v1/functions/none/logs')).status).toBe(404)
    expect((await call(`${logs}?since=yesterday`)).status).toBe(400)
    expect(tails).toEqual([])
  })

  it('that cannot be read has a status that says so', async () => {
    batches = ['broken']
    expect((await call(logs)).status).toBe(500)
  })

  it('followed, comes as it is written, and ends cleanly when the gateway drains', async () => {
    batches = [[record('a')], 'wait']
    const reply = await call(`${logs}?follow=true`)
    const reader = reply.body?.getReader()
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toContain('"a"')
    gateway.closing.abort()
    expect((await reader?.read())?.done).toBe(true)
    await vi.waitFor(() => expect(ended).toBe(1))
  })

  it('followed, is let go when the reader leaves', async () => {
    batches = [[record('a')], 'wait']
    const leave = new AbortController()
    const reply = await call(`${logs}?follow=true`, { signal: leave.signal })
    await reply.body?.getReader().read()
    leave.abort()
    await vi.waitFor(() => expect(ended).toBe(1))
  })
})

describe('dead letters', () => {
  const path = '/forkyard/v1/functions/f/dead-letters'

  it('are listed with payload and reason, page by page', async () => {
    const reply = await call(`${path}?max=1`)
    expect(await reply.json()).toEqual({
      deadLetters: [
        {
          invocationId: 'id-1',
          acceptedAt: 1,
          failedAt: 2,
          attempts: 3,
          error: { type: 'Unhandled', message: 'm' },
          payload: Buffer.from('{}').toString('base64'),
        },
      ],
      next: 7,
    })
    expect(await (await call(`${path}?after=7`)).json()).toEqual({ deadLetters: [] })
    expect((await call(`${path}?max=101`)).status).toBe(400)
  })

  it('are put back, a bounded number at a time', async () => {
    const reply = await call(`${path}/redrive`, { method: 'POST', body: '{"max":2}' })
    expect(await reply.json()).toEqual({ redriven: [{ invocationId: 'new', redriveOf: 'id-1' }] })
    expect(asked).toEqual([['default', 'f', 2]])
    await call(`${path}/redrive`, { method: 'POST' })
    expect(asked[1]).toEqual(['default', 'f', 100])
    expect((await call(`${path}/redrive`, { method: 'POST', body: '{"max":1001}' })).status).toBe(400)
    expect((await call(`${path}/redrive`, { method: 'POST', credentials: otherAccount })).status).toBe(404)
  })
})

it('the status is what the scheduler says of its nodes, and the latency of answers by start type', async () => {
  expect(await (await call('/forkyard/v1/status')).json()).toEqual({
    nodes: [expect.objectContaining({ nodeId: 'n-1' })],
    starts: [],
  })
  const { invocationSeconds } = gateway.deps.metrics
  for (let time = 0; time < 98; time++) invocationSeconds.observe({ start_type: 'warm' }, 0.0015)
  for (const startType of ['warm', 'warm', 'restore']) invocationSeconds.observe({ start_type: startType }, 0.18)
  const { starts } = (await (await call('/forkyard/v1/status')).json()) as { starts: Record<string, number>[] }
  expect(starts).toEqual([
    {
      startType: 'warm',
      count: 100,
      p50Ms: expect.closeTo(1.5, 1),
      p90Ms: expect.closeTo(1.92, 1),
      p99Ms: expect.closeTo(175, 0),
    },
    {
      startType: 'restore',
      count: 1,
      p50Ms: expect.closeTo(175, 0),
      p90Ms: expect.any(Number),
      p99Ms: expect.any(Number),
    },
  ])
})

const post = (path: string, body = '{}') => call(`/forkyard/v1/nodes/${path}`, { method: 'POST', body })

it('nodes are cordoned, drained and uncordoned through the scheduler', async () => {
  expect((await post('n-1/cordon', '{"reason":"a new disk"}')).status).toBe(204)
  expect((await post('n-1/drain')).status).toBe(204)
  expect((await post('n-1/uncordon')).status).toBe(204)
  expect(gateway.toldNodes).toEqual([
    ['n-1', 'cordon', 'a new disk'],
    ['n-1', 'drain', 'by hand'],
    ['n-1', 'uncordon', 'by hand'],
  ])
  expect((await post('n-1/cordon', '{"reason":""}')).status).toBe(400)
})

it('a gateway that drains says so, and serves what still comes', async () => {
  gateway.closing.abort()
  expect(await (await fetch(`${gateway.url}/readyz`)).json()).toEqual({ status: 'not ready', missing: 'draining' })
  expect((await call('/forkyard/v1/status')).status).toBe(200)
})
