import { mkdtempSync, rmSync } from 'node:fs'
import { request as httpRequest, type ClientRequest, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JetStreamClient } from '@nats-io/jetstream'
import fastify, { type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { PlatformError } from '../../contracts/errors.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import type { UsageRecord } from '../../contracts/usage.ts'
import type { AssignmentInput, InstanceEndpoint, SandboxExit } from '../instance.ts'
import { LogPublisher } from '../logs/log-publisher.ts'
import { UsageJournal } from '../metering/usage-journal.ts'
import { UsagePublisher } from '../metering/usage-publisher.ts'
import { registerInvocationRoutes } from '../routes/invocations.ts'
import { createGatewayMetrics } from './gateway-metrics.ts'
import { createNodeGateway } from './node-gateway.ts'

const revision = { tenant: 't', name: 'f', version: '$LATEST', revisionId: 'r' }
const config = {
  ...revision,
  runtime: 'nodejs24.x',
  handler: 'index.handler',
  memoryMiB: 128,
  environment: { MINE: '1' },
  policy: { concurrency: 1, reuse: true, keepAliveMs: 1000 },
} as unknown as VersionConfig
const limits = {
  responseBytes: 1000,
  streamedResponseBytes: 10_000,
  bufferedRequests: 2,
  bufferedBytes: 1_000_000_000,
  initMs: 10_000,
  logLineBytes: 1024,
  logBytesPerSecond: 10_000,
  sandboxOverheadMiB: 0,
  pids: 16,
}

let dir: string
let app: FastifyInstance
let journal: UsageJournal
let gateway: ReturnType<typeof createNodeGateway>
let records: UsageRecord[]
let usage: UsagePublisher
let killed: SandboxExit[]
let endpoints: InstanceEndpoint[]
let willServe: boolean
let refusal: PlatformError | undefined

/** All that will be: no record is on its way any more. */
const metered = async (): Promise<readonly UsageRecord[]> => {
  await usage.close(1_000)
  return records
}

beforeEach(async () => {
  limits.responseBytes = 1000
  dir = mkdtempSync(join(tmpdir(), 'fy-'))
  records = []
  killed = []
  endpoints = []
  willServe = true
  refusal = undefined
  const publish = async (subject: string, data: string) => {
    if (subject.startsWith('usage.')) records.push(JSON.parse(data) as UsageRecord)
    return { stream: '', seq: 1, duplicate: false, domain: '' }
  }
  const js = { publish } as unknown as JetStreamClient
  const logger = pino({ level: 'silent' })
  journal = new UsageJournal({ dir: join(dir, 'usage') })
  usage = new UsagePublisher({ js, logger, acknowledged: (record) => journal.acknowledged(record) })
  const logs = new LogPublisher({ js, logger, onDropped: () => undefined })
  const events = {
    stateChanged: () => undefined,
    invocationArrived: () => undefined,
    invocationGone: () => undefined,
    invocationEnded: () => undefined,
    mustEnd: (_id: string, exit: SandboxExit) => void killed.push(exit),
    willServe: () => willServe,
    refusal: () => refusal,
  }
  gateway = createNodeGateway({
    nodeId: 'n',
    region: 'us-east-1',
    limits,
    events,
    journal,
    usage,
    logs,
    metrics: createGatewayMetrics(new Registry()),
  })
  app = fastify()
  app.setErrorHandler((error, _request, reply) => {
    const known = error instanceof PlatformError ? error : new PlatformError('INTERNAL', String(error))
    return reply.code(known.entry.status).send(known.toBody())
  })
  registerInvocationRoutes(app, gateway)
  await app.listen({ host: '127.0.0.1', port: 0 })
})

afterEach(async () => {
  await Promise.all(endpoints.map((endpoint) => endpoint.close({ reason: 'killed', detail: 'test over' })))
  app.server.closeAllConnections()
  await app.close()
  journal.close()
  rmSync(dir, { recursive: true })
})

interface Reply {
  status: number
  headers: IncomingHttpHeaders
  trailers: NodeJS.Dict<string>
  body: string
}

/** @param asked what happens when the other side asks for the rest of the body; absent: the body is sent at once */
const send = (options: object, body?: string, asked?: (request: ClientRequest) => void): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const request = httpRequest(options, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () => {
        const { statusCode, headers, trailers } = response
        resolve({ status: statusCode ?? 0, headers, trailers, body: Buffer.concat(parts).toString() })
      })
      response.on('error', reject)
    })
    request.on('error', reject)
    if (asked) {
      request.write(body?.slice(0, -1) ?? '')
      request.on('information', ({ statusCode }) => {
        if (statusCode === 102) asked(request)
      })
    } else request.end(body)
  })

const open = async (id: string, assign: Partial<AssignmentInput> = {}) => {
  const socketPath = join(dir, `${id}.sock`)
  const endpoint = await gateway.openEndpoint(id, socketPath)
  endpoints.push(endpoint)
  endpoint.assign({
    config,
    startType: 'boot',
    phases: [],
    startedAt: performance.now(),
    peakMemoryMiB: () => 40,
    ...assign,
  })
  const call = (method: string, path: string, body?: string, headers = {}) =>
    send({ socketPath, method, path, headers }, body)
  return { endpoint, call, next: () => call('GET', '/2018-06-01/runtime/invocation/next') }
}

const invoke = (
  id: string,
  body = '{"a":1}',
  headers: Record<string, string> = {},
  asked?: (request: ClientRequest) => void,
): Promise<Reply> => {
  const address = app.server.address()
  const port = typeof address === 'object' ? address?.port : 0
  const given = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'forkyard-revision': JSON.stringify(revision),
    'forkyard-deadline-at': String(Date.now() + 60_000),
    'forkyard-timeout-ms': '30000',
    'forkyard-kind': 'event',
    'forkyard-response-mode': 'buffered',
    'forkyard-function-arn': 'arn:f',
    ...headers,
  }
  return send({ port, method: 'POST', path: `/v1/invocations/${id}`, headers: given }, body, asked)
}
const reportOf = (text: unknown) =>
  JSON.parse(Buffer.from(String(text), 'base64').toString()) as Record<string, unknown>
const answerPath = (id: string) => `/2018-06-01/runtime/invocation/${id}/response`

test('an instance pulls the request, answers, and usage is on record once', async () => {
  const instance = await open('a')
  const reply = invoke('one')
  const pulled = await instance.next()
  expect(pulled.headers['lambda-runtime-aws-request-id']).toBe('one')
  expect(pulled.body).toBe('{"a":1}')
  expect((await instance.call('POST', answerPath('one'), '"done"')).status).toBe(202)
  const { status, body, headers } = await reply
  expect([status, body]).toEqual([200, '"done"'])
  const report = reportOf(headers['forkyard-report'])
  expect(report).toMatchObject({ outcome: 'ok', startType: 'boot' })
  expect(Buffer.from(String(report['logTail']), 'base64').toString()).toMatch(
    /^START RequestId: one[^]*REPORT RequestId: one/,
  )
  expect(await metered()).toMatchObject([{ invocationId: 'one', outcome: 'ok', attempt: 1 }])
})

const ticketOf = (name: string, hops: number): string => {
  const ticket = { tenant: 't', name, version: '1', invocationId: name, deadlineAt: 1, hops }
  return `t1.k.${Buffer.from(JSON.stringify(ticket)).toString('base64url')}.m`
}

test('a call is made in the name of the invocation that the instance handles, and of none before and after', async () => {
  const calling = (id: string) => gateway.callingInvocation(id, revision)
  const [deep, shallow] = [ticketOf('deep', 3), ticketOf('shallow', 0)]
  expect(calling('a')).toBeUndefined()
  const first = invoke('one', '{}', { 'forkyard-ticket': shallow, traceparent: 'trace' })
  await vi.waitFor(() => expect(gateway.waiting(revision)).toBe(1))
  // What initialises for it.
  expect(calling('a')).toEqual({ ticket: shallow, traceparent: 'trace', shared: true })
  expect(gateway.callingInvocation('a', { ...revision, revisionId: 'another' })).toBeUndefined()
  const instance = await open('a')
  await instance.next()
  expect(calling('a')).toEqual({ ticket: shallow, traceparent: 'trace', shared: false })
  const second = invoke('two', '{}', { 'forkyard-ticket': deep })
  const other = await open('b')
  await other.next()
  expect([calling('a')?.ticket, calling('b')?.ticket]).toEqual([shallow, deep])
  // A seed, whose forks these may be: the longest chain counts.
  expect(calling('seed')).toMatchObject({ ticket: deep, shared: true })
  await instance.call('POST', answerPath('one'), '1')
  await other.call('POST', answerPath('two'), '1')
  await Promise.all([first, second])
  expect(calling('a')).toBeUndefined()
})

test('a second instance cannot answer for the first, nor the first answer twice', async () => {
  const [first, second] = [await open('a'), await open('b')]
  const reply = invoke('one')
  await first.next()
  expect((await second.call('POST', answerPath('one'), '"forged"')).status).toBe(400)
  await first.call('POST', answerPath('one'), '"real"')
  expect((await first.call('POST', answerPath('one'), '"again"')).status).toBe(400)
  expect((await reply).body).toBe('"real"')
})

test('a runtime that pulls while it owes an answer is refused', async () => {
  const instance = await open('a')
  const reply = invoke('one')
  await instance.next()
  expect((await instance.next()).status).toBe(403)
  await instance.call('POST', answerPath('one'), '1')
  expect((await reply).status).toBe(200)
})

test('a forced request is taken by its own instance alone, and that takes it first', async () => {
  const forced = { 'forkyard-forced-start': '1' }
  const [idle, own] = [await open('a'), await open('b', { forInvocation: 'mine' })]
  const mine = invoke('mine', '{}', forced)
  const firstPull = idle.next()
  await vi.waitFor(() => expect(gateway.waiting(revision)).toBe(1))
  const ownPull = own.next()
  expect((await ownPull).headers['lambda-runtime-aws-request-id']).toBe('mine')
  const common = invoke('common')
  expect((await firstPull).headers['lambda-runtime-aws-request-id']).toBe('common')
  await own.call('POST', answerPath('mine'), '"own"')
  await idle.call('POST', answerPath('common'), '"any"')
  expect([(await mine).body, (await common).body]).toEqual(['"own"', '"any"'])
})

test('a request that nobody placed is taken by an instance that waits for one, and refused at once otherwise', async () => {
  const unplaced = { 'forkyard-if-idle': '1' }
  const instance = await open('a')
  expect(await invoke('early', '{}', unplaced)).toMatchObject({ status: 409 })
  const pull = instance.next()
  // Refused, and so not in the buffer, until the pull is open.
  let reply = invoke('one', '{}', unplaced)
  while ((await Promise.race([reply, pull])).status === 409) reply = invoke('one', '{}', unplaced)
  expect((await pull).headers['lambda-runtime-aws-request-id']).toBe('one')
  expect(await invoke('second', '{}', unplaced)).toMatchObject({ status: 409 })
  await instance.call('POST', answerPath('one'), '"taken"')
  expect((await reply).body).toBe('"taken"')
})

test('an instance whose forced request never comes takes others after a while', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const own = await open('b', { forInvocation: 'gone' })
    const pull = own.next()
    const common = invoke('common')
    await vi.waitFor(async () => {
      await vi.advanceTimersByTimeAsync(100)
      expect(gateway.waiting(revision)).toBe(1)
    })
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await pull).headers['lambda-runtime-aws-request-id']).toBe('common')
    await own.call('POST', answerPath('common'), '1')
    expect((await common).status).toBe(200)
  } finally {
    vi.useRealTimers()
  }
})

test('past its time-out the invocation is answered and the sandbox condemned', async () => {
  const instance = await open('a')
  const reply = invoke('one', '{}', { 'forkyard-timeout-ms': '20' })
  await instance.next()
  const { body, headers } = await reply
  expect(headers['forkyard-function-error']).toBe('Unhandled')
  expect(JSON.parse(body)).toMatchObject({ errorType: 'Sandbox.Timedout' })
  expect(killed).toMatchObject([{ reason: 'timeout' }])
  expect(await metered()).toMatchObject([{ outcome: 'timeout', billedMs: 20 }])
})

test('the end of the sandbox fails what it was working on, with the evidence', async () => {
  const instance = await open('a')
  const reply = invoke('one')
  await instance.next()
  await instance.endpoint.close({ reason: 'out-of-memory', detail: 'oom_kill 1' })
  expect(JSON.parse((await reply).body)).toMatchObject({
    errorType: 'Runtime.OutOfMemory',
    errorMessage: expect.stringContaining('oom_kill 1') as string,
  })
})

test.each([
  ['its limit', 1000, 1000, true],
  ['a byte over it', 1000, 1001, false],
  // Negative control: nothing but this limit refuses it.
  ['the same where the limit is one wider', 1001, 1001, true],
])('an answer of %s', async (_what, limit, length, taken) => {
  limits.responseBytes = limit
  const instance = await open('a')
  const reply = invoke('one')
  await instance.next()
  await instance.call('POST', answerPath('one'), 'x'.repeat(length))
  const { body } = await reply
  if (taken) expect(body).toBe('x'.repeat(length))
  else expect(JSON.parse(body)).toMatchObject({ errorType: 'Function.ResponseSizeTooLarge' })
})

test('a streamed answer carries its report in the trailer', async () => {
  const instance = await open('a')
  const reply = invoke('one', '{}', { 'forkyard-response-mode': 'stream' })
  await instance.next()
  await instance.call('POST', answerPath('one'), 'abc', { 'lambda-runtime-function-response-mode': 'streaming' })
  const { body, trailers } = await reply
  expect(body).toBe('abc')
  expect(reportOf(trailers['forkyard-report'])).toMatchObject({ outcome: 'ok' })
})

test('an initialisation error reaches the request that waited for it', async () => {
  const instance = await open('a')
  const reply = invoke('one')
  const failed = instance.endpoint.ready.catch((error: unknown) => error)
  await instance.call('POST', '/2018-06-01/runtime/init/error', '{"errorType":"Mine","errorMessage":"no"}')
  const error = await failed
  willServe = false
  while (gateway.waiting(revision) === 0) await new Promise(setImmediate)
  gateway.failWaiting(revision, error as PlatformError)
  const { body, headers } = await reply
  expect(headers['forkyard-function-error']).toBe('Unhandled')
  expect(JSON.parse(body)).toMatchObject({ errorType: 'Mine' })
})

test('a full buffer refuses and names the limit', async () => {
  void invoke('one').catch(() => undefined)
  void invoke('two').catch(() => undefined)
  while (gateway.waiting(revision) < 2) await new Promise(setImmediate)
  const { status, body } = await invoke('three')
  expect(status).toBe(429)
  expect(JSON.parse(body)).toMatchObject({ code: 'TOO_MANY_REQUESTS', details: { limit: 'bufferedRequests' } })
})

test('a request that nobody will take is told what the node said of its revision', async () => {
  willServe = false
  const plain = await invoke('one')
  expect(JSON.parse(plain.body)).toMatchObject({ code: 'NO_INSTANCE' })
  refusal = new PlatformError('NO_CAPACITY', 'the image is damaged')
  const { status, body } = await invoke('two')
  expect(status).toBe(503)
  expect(JSON.parse(body)).toMatchObject({ code: 'NO_CAPACITY', message: 'the image is damaged' })
})

test('a request whose last byte is held is asked for it when an instance takes it, and is nobody’s until it is there', async () => {
  const held = { 'forkyard-held': '1' }
  const askedFor: string[] = []
  const never = invoke('never', '{"n":1}', held, (request) => {
    askedFor.push('never')
    request.destroy(new Error('cut off'))
  }).catch((error: Error) => error.message)
  // Two connections may be accepted in either order; this one is to be the first in the buffer.
  while (gateway.waiting(revision) < 1) await new Promise(setImmediate)
  const reply = invoke('one', '{"n":2}', held, (request) => {
    askedFor.push('one')
    request.end('}')
  })
  while (gateway.waiting(revision) < 2) await new Promise(setImmediate)
  expect(askedFor).toEqual([])
  const instance = await open('a')
  const pulled = await instance.next()
  expect(await never).toBe('cut off')
  expect([pulled.headers['lambda-runtime-aws-request-id'], pulled.body]).toEqual(['one', '{"n":2}'])
  await instance.call('POST', answerPath('one'), '"done"')
  expect((await reply).body).toBe('"done"')
  expect(askedFor).toEqual(['never', 'one'])
  expect((await metered()).map(({ invocationId }) => invocationId)).toEqual(['one'])
})
