import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import {
  CreateAliasCommand,
  CreateFunctionCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  PublishVersionCommand,
  type InvokeCommandInput,
  type LambdaClient,
} from '@aws-sdk/client-lambda'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { answerError, answerStream, answerWhole } from '../testing/fake-node.ts'
import { signedHead } from '../testing/signed-head.ts'
import { roleArn, startGateway, zipOf, type TestGateway } from '../testing/gateway.ts'

let gateway: TestGateway
let client: LambdaClient

beforeEach(async () => {
  gateway = await startGateway({ limits: { syncPayloadBytes: 2000, asyncPayloadBytes: 1000, startBudgetMs: 100 } })
  client = gateway.client()
  const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
  await client.send(
    new CreateFunctionCommand({
      FunctionName: 'f',
      Role: roleArn,
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Code,
      Timeout: 1,
    }),
  )
})
afterEach(async () => {
  expect(gateway.problems).toEqual([])
  await gateway.close()
})

const bytes = (text: string) => Buffer.from(text)
const text = (payload: Uint8Array | undefined) => Buffer.from(payload ?? []).toString()

/** The last reply's headers, which the SDK hides. */
const headersOf = async (
  command: InvokeCommand | InvokeWithResponseStreamCommand,
  extra: Record<string, string> = {},
) => {
  let headers: Record<string, string> = {}
  ;(command as InvokeCommand).middlewareStack.add(
    (next) => async (args) => {
      Object.assign((args.request as { headers: object }).headers, extra)
      const result = await next(args)
      headers = (result.response as { headers: Record<string, string> }).headers
      return result
    },
    { step: 'build' },
  )
  const reply = await client.send(command as InvokeCommand)
  return { headers, reply }
}
const invoke = (more: Partial<InvokeCommandInput> = {}) =>
  client.send(new InvokeCommand({ FunctionName: 'f', Payload: bytes('{"a":1}'), ...more }))

const refused = async (more: Partial<InvokeCommandInput>, name: string) =>
  expect(invoke(more)).rejects.toMatchObject({ name })

const payload = (length: number) => bytes(JSON.stringify('x'.repeat(length - 2)))

describe('Invoke', () => {
  it('hands the very payload to the node and its answer back, with the waterfall', async () => {
    gateway.node.answer = async (call) =>
      answerWhole(call, Buffer.concat([bytes('{"got":'), await call.body(), bytes('}')]))
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const command = new InvokeCommand({ FunctionName: 'f', Payload: bytes('{"a":1}') })
    const { headers, reply } = await headersOf(command, { 'x-forkyard-start': 'boot', traceparent })
    expect(text(reply.Payload)).toBe('{"got":{"a":1}}')
    expect(reply).toMatchObject({ StatusCode: 200, ExecutedVersion: '$LATEST' })
    expect([reply.FunctionError, reply.LogResult]).toEqual([undefined, undefined])
    const id = gateway.node.calls[0]?.invocationId
    expect(headers['x-amzn-requestid']).toBe(id)
    expect(headers['server-timing']).toMatch(
      /^auth;dur=.*place;dur=.*queue;dur=2.*handler;dur=5.*start;desc="restore"$/,
    )
    expect(gateway.placements).toEqual([expect.objectContaining({ invocationId: id, startWish: 'boot' })])
    expect(gateway.node.calls[0]?.headers).toMatchObject({
      'forkyard-kind': 'event',
      'forkyard-response-mode': 'buffered',
      traceparent,
      authorization: `Bearer ${gateway.deps.config.nodeToken}`,
    })
  })

  it('tells a function error, and the end of the log when asked', async () => {
    gateway.node.answer = (call) => answerWhole(call, bytes('{"errorType":"E"}'), { functionError: 'Unhandled' })
    const reply = await invoke({ LogType: 'Tail' })
    expect(reply).toMatchObject({ StatusCode: 200, FunctionError: 'Unhandled' })
    expect(Buffer.from(reply.LogResult ?? '', 'base64').toString()).toBe('REPORT')
    expect(text(reply.Payload)).toBe('{"errorType":"E"}')
  })

  it('runs the version that the qualifier names', async () => {
    await client.send(new PublishVersionCommand({ FunctionName: 'f' }))
    await client.send(new CreateAliasCommand({ FunctionName: 'f', Name: 'live', FunctionVersion: '1' }))
    expect((await invoke({ Qualifier: 'live' })).ExecutedVersion).toBe('1')
    expect((await invoke({ FunctionName: 'f:1' })).ExecutedVersion).toBe('1')
    expect(gateway.node.calls.map(({ headers }) => headers['forkyard-function-arn'])).toEqual([
      'arn:aws:lambda:eu-test-1:000000000000:function:f:live',
      'arn:aws:lambda:eu-test-1:000000000000:function:f:1',
    ])
  })

  it('gives {} to the function when there is no payload', async () => {
    gateway.node.answer = async (call) => answerWhole(call, await call.body())
    expect(text((await client.send(new InvokeCommand({ FunctionName: 'f' }))).Payload)).toBe('{}')
  })

  it('passes the client context on', async () => {
    await invoke({ ClientContext: bytes('{"custom":{"a":"b"}}').toString('base64') })
    const passed = String(gateway.node.calls[0]?.headers['forkyard-client-context'])
    expect(JSON.parse(Buffer.from(passed, 'base64').toString())).toEqual({ custom: { a: 'b' } })
  })

  it('is refused before anything is placed', async () => {
    await refused({ Payload: bytes('{no') }, 'InvalidRequestContentException')
    await refused({ ClientContext: '!' }, 'InvalidRequestContentException')
    await refused({ FunctionName: 'none' }, 'ResourceNotFoundException')
    await refused({ Qualifier: '7' }, 'ResourceNotFoundException')
    await refused({ InvocationType: 'Later' as never }, 'InvalidParameterValueException')
    await refused({ LogType: 'All' as never }, 'InvalidParameterValueException')
    await expect(
      headersOf(new InvokeCommand({ FunctionName: 'f' }), { 'x-forkyard-start': 'fast' }),
    ).rejects.toMatchObject({
      name: 'InvalidParameterValueException',
    })
    expect(gateway.placements).toEqual([])
  })

  it.each([
    ['RequestResponse', 2000],
    ['Event', 1000],
  ] as const)('takes payloads up to the limit, to the byte: %s', async (InvocationType, limit) => {
    await invoke({ InvocationType, Payload: payload(limit) })
    await expect(invoke({ InvocationType, Payload: payload(limit + 1) })).rejects.toMatchObject({
      name: 'RequestTooLargeException',
      message: expect.stringContaining(String(limit)) as string,
    })
  })

  it('is queued as Event, and only once it is stored', async () => {
    const { headers, reply } = await headersOf(
      new InvokeCommand({
        FunctionName: 'f',
        Payload: bytes('{"a":1}'),
        InvocationType: 'Event',
        Qualifier: '$LATEST',
      }),
    )
    expect(reply.StatusCode).toBe(202)
    expect(gateway.pushed).toEqual([
      {
        event: expect.objectContaining({
          tenant: 'default',
          name: 'f',
          qualifier: '$LATEST',
          invocationId: headers['x-amzn-requestid'],
        }) as object,
        payload: bytes('{"a":1}'),
      },
    ])
    expect(gateway.placements).toEqual([])
    await expect(invoke({ FunctionName: 'none', InvocationType: 'Event' })).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    })
    expect(gateway.pushed).toHaveLength(1)
  })

  it('only checks as DryRun', async () => {
    expect((await invoke({ InvocationType: 'DryRun' })).StatusCode).toBe(204)
    await expect(invoke({ InvocationType: 'DryRun', FunctionName: 'none' })).rejects.toMatchObject({
      name: 'ResourceNotFoundException',
    })
    expect(gateway.placements).toEqual([])
  })

  it.each([
    [503, 'NO_CAPACITY', 'EC2ThrottledException'],
    [429, 'TOO_MANY_REQUESTS', 'TooManyRequestsException'],
    [502, 'START_FAILED', 'InvalidRuntimeException'],
    [504, 'DEADLINE_EXCEEDED', 'ServiceException'],
  ])('answers a node’s %d as the table says: %s', async (status, code, name) => {
    gateway.node.answer = (call) => answerError(call, status, code)
    await expect(invoke()).rejects.toMatchObject({ name, $metadata: { httpStatusCode: status } })
  })

  it('is lost when the node dies in the middle, and never sent twice', async () => {
    gateway.node.answer = (call) => {
      call.response.writeHead(200, { 'content-length': 100 })
      call.response.write('half')
      setTimeout(() => call.response.destroy(), 20)
    }
    await expect(invoke()).rejects.toMatchObject({ name: 'ServiceException', $metadata: { httpStatusCode: 502 } })
    expect(gateway.node.calls).toHaveLength(1)
  })

  it('ends by its deadline whatever the node does', async () => {
    gateway.node.answer = () => undefined
    const from = performance.now()
    await expect(invoke()).rejects.toMatchObject({ $metadata: { httpStatusCode: 504 } })
    expect(performance.now() - from).toBeGreaterThan(1000)
    expect(performance.now() - from).toBeLessThan(4000)
  })

  it('takes the request back from the node when the client leaves', async () => {
    const left = Promise.withResolvers<void>()
    gateway.node.answer = (call) => void call.response.once('close', () => left.resolve())
    const gone = new AbortController()
    const request = client
      .send(new InvokeCommand({ FunctionName: 'f' }), { abortSignal: gone.signal })
      .catch(() => undefined)
    await vi.waitFor(() => expect(gateway.node.calls).toHaveLength(1))
    gone.abort()
    await Promise.all([left.promise, request])
    expect(gateway.over).toEqual([gateway.node.calls[0]?.invocationId])
  })

  it('lets go of what it held of the body', async () => {
    await Promise.all(Array.from({ length: 5 }, () => invoke()))
    await vi.waitFor(() => expect(gateway.deps.bodies.held).toBe(0))
  })
})

const stream = async (more: object = {}) => {
  const { EventStream, ...reply } = await client.send(
    new InvokeWithResponseStreamCommand({ FunctionName: 'f', Payload: bytes('{}'), ...more }),
  )
  if (!EventStream) throw new Error('no stream')
  return { EventStream, reply }
}
const collect = async (more: object = {}) => {
  const { EventStream } = await stream(more)
  let payload = ''
  let end: object | undefined
  for await (const { PayloadChunk, InvokeComplete } of EventStream) {
    payload += text(PayloadChunk?.Payload)
    end = InvokeComplete ?? end
  }
  return { payload, end }
}

describe('InvokeWithResponseStream', () => {
  it('sends each piece when it comes, then how it ended', async () => {
    const second = Promise.withResolvers<void>()
    gateway.node.answer = (call) =>
      answerStream(
        call,
        (async function* () {
          yield bytes('one')
          await second.promise
          yield bytes('two')
        })(),
      )
    const { EventStream, reply } = await stream({ LogType: 'Tail' })
    expect(reply).toMatchObject({
      StatusCode: 200,
      ExecutedVersion: '$LATEST',
      ResponseStreamContentType: 'application/vnd.amazon.eventstream',
    })
    const events = EventStream[Symbol.asyncIterator]()
    expect(text((await events.next()).value?.PayloadChunk?.Payload)).toBe('one')
    second.resolve()
    expect(text((await events.next()).value?.PayloadChunk?.Payload)).toBe('two')
    expect((await events.next()).value).toEqual({ InvokeComplete: { LogResult: bytes('REPORT').toString('base64') } })
    expect((await events.next()).done).toBe(true)
    expect(gateway.node.calls[0]?.headers['forkyard-response-mode']).toBe('stream')
  })

  it('carries any bytes, of any size', async () => {
    const big = Buffer.alloc(1_000_000, 'ab\0\xff', 'latin1')
    gateway.node.answer = (call) => answerStream(call, [big])
    const { EventStream } = await stream()
    const parts: Buffer[] = []
    for await (const { PayloadChunk } of EventStream) parts.push(Buffer.from(PayloadChunk?.Payload ?? []))
    expect(Buffer.concat(parts).equals(big)).toBe(true)
  })

  it('ends with the error of the function', async () => {
    gateway.node.answer = (call) => answerWhole(call, bytes('{"errorType":"E"}'), { functionError: 'Unhandled' })
    expect(await collect()).toEqual({ payload: '', end: { ErrorCode: 'Unhandled', ErrorDetails: '{"errorType":"E"}' } })
    gateway.node.answer = (call) =>
      answerStream(call, [bytes('half')], { functionError: 'Unhandled', report: { outcome: 'out-of-memory' } })
    expect(await collect()).toMatchObject({
      payload: 'half',
      end: { ErrorCode: 'Unhandled', ErrorDetails: expect.stringContaining('Runtime.OutOfMemory') as string },
    })
  })

  it('ends with a typed error when the node dies in the middle', async () => {
    gateway.node.answer = async (call) => {
      call.response.writeHead(200)
      call.response.write('half')
      await delay(20)
      call.response.destroy()
    }
    expect(await collect()).toMatchObject({ payload: 'half', end: { ErrorCode: 'ServiceException' } })
  })

  it('is refused with a status while nothing is sent', async () => {
    await expect(stream({ Payload: bytes('{no') })).rejects.toMatchObject({ name: 'InvalidRequestContentException' })
    await expect(stream({ FunctionName: 'none' })).rejects.toMatchObject({ name: 'ResourceNotFoundException' })
    gateway.node.answer = (call) => answerError(call, 503, 'NO_CAPACITY')
    await expect(stream()).rejects.toMatchObject({ name: 'EC2ThrottledException' })
  })

  it('waits for a slow reader, and reads no more from the node meanwhile', async () => {
    let written = 0
    gateway.node.answer = (call) =>
      answerStream(
        call,
        (async function* () {
          for (; written < 64 * 1024 * 1024; written += 64 * 1024) yield Buffer.alloc(64 * 1024)
        })(),
      ).catch(() => undefined)
    const { EventStream } = await stream()
    const events = EventStream[Symbol.asyncIterator]()
    await events.next()
    let before = -1
    while (before !== written) {
      before = written
      await delay(100)
    }
    expect(written).toBeLessThan(32 * 1024 * 1024)
    await events.return?.()
  })
})

it('the timing of a stream is in its trailer', async () => {
  gateway.node.answer = (call) => answerStream(call, [bytes('x')])
  const head = await signedHead(gateway, 'POST', '/2021-11-15/functions/f/response-streaming-invocations', '{}')
  const socket = connect(gateway.port, '127.0.0.1')
  let seen = ''
  socket.on('data', (chunk) => (seen += chunk.toString('latin1')))
  socket.write(`${head}{}`)
  await vi.waitFor(() => expect(seen).toMatch(/\r\n0\r\nserver-timing: auth;.*handler;dur=5;.*\r\n\r\n$/))
  expect(seen).toMatch(/^HTTP\/1.1 200 OK\r\n/)
  expect(seen).toMatch(/\r\ntrailer: server-timing\r\n/i)
  socket.destroy()
})
