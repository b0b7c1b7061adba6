import { setTimeout as delay } from 'node:timers/promises'
import { Readable } from 'node:stream'
import type { Consumer, JsMsg } from '@nats-io/jetstream'
import { pino } from 'pino'
import { Registry as MetricsRegistry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSealer } from '../../chassis/sealing.ts'
import { testSigner } from '../testing/gateway.ts'
import { headers as natsHeaders } from '@nats-io/transport-node'
import { PlatformError, type ErrorCode } from '../../contracts/errors.ts'
import { newRecord } from '../function-record.ts'
import type { Invocation, Invoked } from '../invoke/invoker.ts'
import { createGatewayMetrics } from '../metrics.ts'
import { Registry } from '../registry.ts'
import { memoryKv } from '../testing/memory-kv.ts'
import type { AsyncEvent, AsyncQueue, DeadLetter } from './queue.ts'
import { startAsyncWorkers, type StopWorkers } from './worker.ts'

const region = 'eu-test-1'
const settings = {
  runtime: 'nodejs24.x',
  handler: 'h.h',
  description: '',
  role: 'r',
  memoryMiB: 128,
  timeoutMs: 3000,
  ephemeralStorageMiB: 512,
  environment: {},
} as const
const code = { codeSha256: '', codeSize: 1, zipDigest: '', imageDigest: '' }

/** What became of each delivery, in order. */
let outcomes: string[]
let buried: { letter: DeadLetter; payload: string }[]
let invocations: Invocation[]
/** What the function does, in turn; the last one for good. */
let results: ('ok' | 'fails' | ErrorCode | 'hangs')[]
let state: ReturnType<typeof memoryKv>
let registry: Registry
let deliver: (message: JsMsg) => void
let stop: StopWorkers
/** The store refuses what is written while it is set. */
let storeAway = false

const event: AsyncEvent = { invocationId: 'id-1', tenant: 'one', name: 'f', acceptedAt: Date.now() }

const message = (deliveryCount: number, more: Partial<AsyncEvent> = {}, payload = '{"a":1}'): JsMsg => {
  const headers = natsHeaders()
  headers.set('Forkyard-Event', Buffer.from(JSON.stringify({ ...event, ...more })).toString('base64'))
  return {
    subject: 'async.one.f',
    seq: 1,
    data: Buffer.from(payload),
    headers,
    info: { deliveryCount },
    working: () => undefined,
    nak: (ms?: number) => void outcomes.push(ms === undefined ? 'back' : `again in ${ms}`),
    term: () => void outcomes.push('thrown away'),
    ackAck: async () => void outcomes.push('acknowledged'),
  } as unknown as JsMsg
}

beforeEach(async () => {
  outcomes = []
  buried = []
  invocations = []
  results = ['ok']
  storeAway = false
  state = memoryKv()
  const logger = pino({ level: 'silent' })
  const connection = { status: () => (async function* () {})() }
  const sealer = createSealer([{ id: 's1', key: '0'.repeat(64) }])
  registry = new Registry({
    kv: memoryKv(),
    connection: connection as never,
    logger,
    region,
    sealer,
    signer: testSigner,
    adoptUnsigned: false,
    resyncMs: 3_600_000,
  })
  registry.start()
  await registry.create(newRecord('one', 'f', 1, settings, code, {}))
  const waiting: JsMsg[] = []
  const takers: ((message: JsMsg) => void)[] = []
  deliver = (one) => {
    const taker = takers.shift()
    if (taker) taker(one)
    else waiting.push(one)
  }
  const next = () => {
    const first = waiting.shift()
    const taken = first ? Promise.resolve(first) : new Promise<JsMsg>((resolve) => takers.push(resolve))
    return Promise.race([taken, delay(200, null, { ref: false })])
  }
  const queue: AsyncQueue = {
    push: async () => undefined,
    bury: async (letter, payload) => {
      if (storeAway) throw new Error('the store is away')
      buried.push({ letter, payload: Buffer.from(payload).toString() })
      outcomes.push('buried')
    },
    consumer: async () => ({ next }) as unknown as Consumer,
    measure: async () => undefined,
  }
  const invoke = async (invocation: Invocation): Promise<Invoked> => {
    invocations.push(invocation)
    invocation.resolve()
    const result = results.length > 1 ? results.shift() : results[0]
    if (result === 'hangs') await delay(60_000, undefined, { signal: invocation.signal, ref: false })
    if (result !== 'ok' && result !== 'fails') throw new PlatformError(result as ErrorCode, 'm')
    const failed = result === 'fails' ? 'Unhandled' : undefined
    const reply = {
      contentType: undefined,
      failedAtOnce: failed,
      functionError: () => failed,
      report: () => undefined,
      body: Readable.from([Buffer.from('{"errorType":"E"}')]),
    }
    return { reply } as unknown as Invoked
  }
  stop = startAsyncWorkers({
    queue,
    state,
    registry,
    invoker: { invoke },
    metrics: createGatewayMetrics(new MetricsRegistry()),
    logger,
    region,
    workers: 1,
    retryBaseMs: 1000,
  })
})
afterEach(async () => {
  await stop(0)
  registry.close()
})

const settled = async (count: number) => vi.waitFor(() => expect(outcomes.length).toBeGreaterThanOrEqual(count))

describe('an event', () => {
  it('runs as an invocation under its own id, and is acknowledged after its answer', async () => {
    deliver(message(1, { clientContext: 'c', traceparent: 't' }))
    await settled(1)
    expect(outcomes).toEqual(['acknowledged'])
    expect(invocations[0]).toMatchObject({
      invocationId: 'id-1',
      attempt: 1,
      kind: 'event',
      clientContext: 'c',
      traceparent: 't',
    })
    expect(invocations[0]?.body).toEqual(Buffer.from('{"a":1}'))
  })

  it('that fails has its attempts, then is buried with all there is to know, then acknowledged', async () => {
    results = ['fails']
    for (const delivery of [1, 2, 3]) {
      deliver(message(delivery))
      await settled(delivery)
    }
    await settled(4)
    expect(outcomes).toEqual(['again in 1000', 'again in 2000', 'buried', 'acknowledged'])
    expect(invocations.map(({ attempt }) => attempt)).toEqual([1, 2, 3])
    expect(buried).toEqual([
      {
        letter: expect.objectContaining({
          invocationId: 'id-1',
          attempts: 3,
          error: { type: 'Unhandled', message: '{"errorType":"E"}' },
        }) as object,
        payload: '{"a":1}',
      },
    ])
    expect((await state.get('id-1'))?.operation).toBeUndefined()
  })

  it('has as many attempts as its qualifier was configured for', async () => {
    const lastModified = new Date().toISOString()
    const config = { maximumRetryAttempts: 0, maximumEventAgeMs: 60_000, lastModified }
    await registry.update('one', 'f', (record) => ({ ...record, eventInvokeConfigs: { $LATEST: config } }))
    results = ['fails']
    deliver(message(1))
    await settled(2)
    expect(outcomes).toEqual(['buried', 'acknowledged'])
    expect(buried[0]?.letter.attempts).toBe(1)
  })

  it.each(['NO_CAPACITY', 'UNAVAILABLE', 'TOO_MANY_REQUESTS', 'STORAGE_FULL'] as const)(
    'waits for the platform without using up an attempt: %s',
    async (code_) => {
      results = [code_]
      deliver(message(1))
      await settled(1)
      expect(outcomes).toEqual(['again in 500'])
      results = ['fails']
      deliver(message(2))
      await settled(2)
      expect(outcomes[1]).toBe('again in 1000')
    },
  )

  it('of a function that is gone is buried at once', async () => {
    deliver(message(1, { name: 'gone' }))
    await settled(2)
    expect(outcomes).toEqual(['buried', 'acknowledged'])
    expect(buried[0]?.letter).toMatchObject({ attempts: 0, error: { type: 'NOT_FOUND' } })
    expect(invocations).toEqual([])
  })

  it('that cannot be buried is never acknowledged', async () => {
    storeAway = true
    deliver(message(1, { name: 'gone' }))
    await settled(1)
    expect(outcomes).toEqual(['again in 1000'])
  })

  it('that is none is thrown away, and the next one runs', async () => {
    const broken = message(1)
    broken.headers?.set('Forkyard-Event', 'nonsense')
    deliver(broken)
    deliver(message(1))
    await settled(2)
    expect(outcomes).toEqual(['thrown away', 'acknowledged'])
  })
})

describe('a stop', () => {
  it('lets what runs come to its end', async () => {
    const held = Promise.withResolvers<void>()
    const ackAck = vi.fn(async () => void outcomes.push('acknowledged'))
    const one = Object.assign(message(1), {
      ackAck: async () => {
        await held.promise
        await ackAck()
      },
    })
    deliver(one)
    await vi.waitFor(() => expect(invocations).toHaveLength(1))
    const stopped = stop(5000)
    held.resolve()
    await stopped
    expect(outcomes).toEqual(['acknowledged'])
  })

  it('gives back what does not end in time', async () => {
    results = ['hangs']
    deliver(message(1))
    await vi.waitFor(() => expect(invocations).toHaveLength(1))
    await stop(10)
    await settled(1)
    expect(outcomes).toEqual(['back'])
  })
})
