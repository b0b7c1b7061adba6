import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { buffer } from 'node:stream/consumers'
import {
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  type CreateFunctionUrlConfigCommandInput,
} from '@aws-sdk/client-lambda'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { preludeDelimiter, type HttpPrelude } from '../../contracts/node.ts'
import { answerError, answerStream, answerWhole, httpAnswer, type NodeCall } from '../testing/fake-node.ts'
import { account, otherAccount, roleArn, startGateway, zipOf, type TestGateway } from '../testing/gateway.ts'
import { signHeaders } from '../testing/signed-head.ts'

let gateway: TestGateway
let host: string

beforeEach(async () => {
  gateway = await startGateway({ limits: { urlBodyBytes: 1000, startBudgetMs: 100, stalledMs: 300 } })
  const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
  const command = { FunctionName: 'f', Role: roleArn, Handler: 'index.handler', Timeout: 1, Code }
  await gateway.client().send(new CreateFunctionCommand({ ...command, Runtime: 'nodejs24.x' }))
})
afterEach(() => gateway.close())

const open = async (more: Partial<CreateFunctionUrlConfigCommandInput> = {}) => {
  const config = { FunctionName: 'f', AuthType: 'NONE', ...more } as const
  const { FunctionUrl } = await gateway.client().send(new CreateFunctionUrlConfigCommand(config))
  host = new URL(FunctionUrl ?? '').host
}

interface Sent {
  method?: string
  headers?: OutgoingHttpHeaders
  body?: string | Buffer
  /** Leaves the request open for more. */
  keepOpen?: boolean
}
const start = (path: string, { method = 'GET', headers = {}, body, keepOpen }: Sent = {}) => {
  const request = httpRequest({
    host: '127.0.0.1',
    port: gateway.port,
    method,
    path,
    headers: { host, ...headers },
    agent: false,
  })
  const response = new Promise<IncomingMessage>((resolve, reject) =>
    request.once('response', resolve).once('error', reject),
  )
  response.catch(() => undefined)
  if (keepOpen) request.flushHeaders()
  else request.end(body)
  return { request, response }
}
const call = async (path: string, sent: Sent = {}) => {
  const response = await start(path, sent).response
  return { status: response.statusCode, headers: response.headers, body: (await buffer(response)).toString(), response }
}
const received = async (one: NodeCall | undefined) => {
  const bytes = (await one?.body()) ?? Buffer.alloc(0)
  const at = bytes.indexOf(preludeDelimiter)
  return {
    prelude: JSON.parse(bytes.subarray(0, at).toString()) as HttpPrelude,
    body: bytes.subarray(at + 8).toString(),
  }
}
/** Answers with what it got. */
const echo = async (one: NodeCall) => {
  const { prelude, body } = await received(one)
  await answerWhole(
    { ...one, body: async () => Buffer.alloc(0) },
    httpAnswer({ statusCode: 200, headers: {} }, JSON.stringify({ prelude, body })),
  )
}
const answer =
  (prelude: unknown, body = '') =>
  (one: NodeCall) =>
    answerWhole(one, httpAnswer(prelude, body))

const signed = async (body: string, credentials = account) =>
  signHeaders(gateway.port, 'POST', '/p?a=b', body, { host, credentials, headers: { 'x-app': '1' } })
const preflight = (from: string) => ({
  method: 'OPTIONS',
  headers: { origin: from, 'access-control-request-method': 'GET' },
})

describe('a request', () => {
  it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'QUERY'])(
    'arrives as it was sent: %s',
    async (method) => {
      await open()
      gateway.node.answer = echo
      const body = ['GET', 'OPTIONS'].includes(method) ? '' : 'the body'
      // Node's client gives a DELETE no length of its own.
      const length = { 'content-length': String(body.length) }
      const path = '/a%20b/%zz/../c?x=1&x=%26&y'
      const headers = {
        'X-Two': ['1', '2'],
        cookie: 'a=1; b=2',
        connection: 'x-hop, close',
        'x-hop': '1',
        te: 'trailers',
        ...length,
      }
      const reply = await call(path, { method, body, headers })
      const { prelude, body: seen } = JSON.parse(reply.body) as { prelude: HttpPrelude; body: string }
      expect(seen).toBe(body)
      expect(prelude).toMatchObject({ method, target: path, host, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1' })
      const names = prelude.headers.map(([name]) => name)
      expect(prelude.headers.filter(([name]) => name === 'x-two').map(([, value]) => value)).toEqual(['1', '2'])
      for (const hop of ['x-hop', 'connection', 'te', 'transfer-encoding']) expect(names).not.toContain(hop)
      expect(Object.fromEntries(prelude.headers)).toMatchObject({
        cookie: 'a=1; b=2',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': 'http',
        traceparent: expect.stringMatching(/^00-/) as string,
      })
      expect(gateway.node.calls[0]?.headers).toMatchObject({
        'forkyard-kind': 'http',
        'forkyard-response-mode': 'buffered',
      })
    },
  )

  it('is streamed on as it comes, and its answer back before it has ended', async () => {
    await open({ InvokeMode: 'RESPONSE_STREAM' })
    const first = Promise.withResolvers<string>()
    gateway.node.answer = async (one) => {
      let seen = ''
      for await (const chunk of one.request as AsyncIterable<Buffer>) {
        seen += chunk.toString()
        if (!seen.endsWith('one')) continue
        first.resolve('one')
        await answerStream(one, [httpAnswer({ statusCode: 200 }, 'early')])
        return
      }
    }
    const { request, response } = start('/', {
      method: 'POST',
      headers: { 'transfer-encoding': 'chunked' },
      keepOpen: true,
    })
    request.write('one')
    expect(await first.promise).toBe('one')
    expect((await buffer(await response)).toString()).toBe('early')
    request.destroy()
  })

  it('tells the node its length, so that its buffer counts what is there', async () => {
    await open()
    gateway.node.answer = echo
    await call('/', { method: 'POST', body: 'four' })
    const [one] = gateway.node.calls
    expect(Number(one?.headers['content-length'])).toBeLessThan(1000)
    await call('/', { method: 'POST', headers: { 'transfer-encoding': 'chunked' }, body: 'four' })
    expect(gateway.node.calls[1]?.headers['content-length']).toBeUndefined()
  })

  it.each([{}, { 'transfer-encoding': 'chunked' }])('has a body up to the limit, to the byte %j', async (headers) => {
    await open()
    gateway.node.answer = echo
    expect((await call('/', { method: 'POST', body: 'x'.repeat(1000), headers })).status).toBe(200)
    const over = await call('/', { method: 'POST', body: 'x'.repeat(1001), headers })
    expect(over).toMatchObject({ status: 413, headers: { 'x-forkyard-error': 'REQUEST_TOO_LARGE' } })
  })

  it('is sent again, whole, when the first node refuses it', async () => {
    await open()
    gateway.node.answer = async (one) =>
      gateway.node.calls.length === 1 ? answerError(one, 409, 'NO_INSTANCE') : echo(one)
    const reply = await call('/', { method: 'POST', headers: { 'transfer-encoding': 'chunked' }, body: 'again' })
    expect(JSON.parse(reply.body)).toMatchObject({ body: 'again' })
    expect(gateway.node.calls).toHaveLength(2)
  })

  it('is taken back from the node when its client leaves', async () => {
    await open()
    const left = Promise.withResolvers<void>()
    gateway.node.answer = (one) => void one.response.once('close', () => left.resolve())
    const { request } = start('/')
    request.once('error', () => undefined)
    await vi.waitFor(() => expect(gateway.node.calls).toHaveLength(1))
    request.destroy()
    await left.promise
  })
})

describe('an answer', () => {
  it('has the status, headers, cookies and bytes of the function, and the timing', async () => {
    await open()
    gateway.node.answer = answer(
      { statusCode: 418, headers: { 'X-A': '1', 'content-type': 'text/plain' }, cookies: ['a=1', 'b=2'] },
      'tea',
    )
    const { status, headers, body } = await call('/')
    expect({ status, body }).toEqual({ status: 418, body: 'tea' })
    expect(headers).toMatchObject({
      'x-a': '1',
      'content-type': 'text/plain',
      'set-cookie': ['a=1', 'b=2'],
      'content-length': '3',
      'x-amzn-requestid': gateway.node.calls[0]?.invocationId,
      'server-timing': expect.stringContaining('handler;dur=5') as string,
    })
  })

  it('of a streaming URL comes piece by piece, the timing in the trailer', async () => {
    await open({ InvokeMode: 'RESPONSE_STREAM' })
    const second = Promise.withResolvers<void>()
    gateway.node.answer = (one) =>
      answerStream(
        one,
        (async function* () {
          // The prelude may come in any pieces.
          const whole = httpAnswer({ statusCode: 201, headers: { 'content-length': '1' } }, 'one')
          yield whole.subarray(0, 5)
          await delay(10)
          yield whole.subarray(5, whole.length - 7)
          await delay(10)
          yield whole.subarray(whole.length - 7)
          await second.promise
          yield Buffer.from('two')
        })(),
      )
    const response = await start('/').response
    expect(response.statusCode).toBe(201)
    expect(response.headers).toMatchObject({
      'transfer-encoding': 'chunked',
      'server-timing': expect.stringContaining('place') as string,
    })
    expect(response.headers['content-length']).toBeUndefined()
    const pieces = response[Symbol.asyncIterator]()
    expect(String((await pieces.next()).value)).toBe('one')
    second.resolve()
    expect(String((await pieces.next()).value)).toBe('two')
    expect((await pieces.next()).done).toBe(true)
    expect(response.trailers['server-timing']).toContain('handler;dur=5')
  })

  it.each([
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
  ])('to %s with %d has no body', async (method, statusCode) => {
    for (const InvokeMode of ['BUFFERED', 'RESPONSE_STREAM'] as const) {
      await gateway.close()
      gateway = await startGateway()
      const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
      await gateway.client().send(
        new CreateFunctionCommand({
          FunctionName: 'f',
          Role: roleArn,
          Handler: 'index.handler',
          Runtime: 'nodejs24.x',
          Code,
        }),
      )
      await open({ InvokeMode })
      const whole = httpAnswer({ statusCode, headers: { 'content-length': '4' } }, 'body')
      gateway.node.answer = (one) => (InvokeMode === 'BUFFERED' ? answerWhole(one, whole) : answerStream(one, [whole]))
      expect(await call('/', { method })).toMatchObject({ status: statusCode, body: '' })
    }
  })

  it('never carries headers that belong to a connection, or a length that is a lie', async () => {
    await open()
    gateway.node.answer = answer(
      {
        statusCode: 200,
        headers: {
          connection: 'x-hop',
          'x-hop': '1',
          'transfer-encoding': 'chunked',
          'content-length': '1',
          upgrade: 'h2c',
          trailer: 'x',
        },
      },
      'longer',
    )
    const { headers, body } = await call('/')
    expect(body).toBe('longer')
    expect(headers['content-length']).toBe('6')
    for (const name of ['x-hop', 'transfer-encoding', 'upgrade', 'trailer']) expect(headers[name]).toBeUndefined()
  })

  it.each<[string, Buffer]>([
    ['no prelude', Buffer.from('plain text')],
    ['a prelude that is no JSON', Buffer.concat([Buffer.from('{'), preludeDelimiter])],
    ['a status that is none', httpAnswer({ statusCode: 99 })],
    ['a header with a line break', httpAnswer({ statusCode: 200, headers: { a: 'b\r\nc: d' } })],
    ['a header name that is none', httpAnswer({ statusCode: 200, headers: { 'a b': '' } })],
    ['a cookie with a line break', httpAnswer({ statusCode: 200, cookies: ['a\r\nb: c'] })],
    ['a prelude without an end', Buffer.alloc(300 * 1024, 'x')],
  ])('that is no HTTP becomes 502: %s', async (_case, bytes) => {
    await open()
    gateway.node.answer = (one) => answerWhole(one, bytes)
    expect(await call('/')).toMatchObject({ status: 502, body: '{"Message":"Internal Server Error"}' })
  })

  it.each([
    ['timeout', 504],
    ['out-of-memory', 502],
    ['function-error', 502],
    ['start-failed', 502],
  ] as const)('of a function that failed tells the kind and no more: %s', async (outcome, status) => {
    await open()
    gateway.node.answer = (one) =>
      answerWhole(one, Buffer.from('{"errorMessage":"secret"}'), { functionError: 'Unhandled', report: { outcome } })
    const reply = await call('/')
    expect(reply).toMatchObject({
      status,
      headers: {
        'x-forkyard-error': outcome,
        'x-amz-function-error': 'Unhandled',
        'server-timing': expect.any(String) as string,
      },
    })
    expect(reply.body).not.toContain('secret')
  })

  it('that breaks off in the middle is cut, not ended', async () => {
    await open({ InvokeMode: 'RESPONSE_STREAM' })
    gateway.node.answer = (one) =>
      answerStream(one, [httpAnswer({ statusCode: 200 }, 'half')], {
        functionError: 'Unhandled',
        report: { outcome: 'exit' },
      })
    const response = await start('/').response
    await expect(buffer(response)).rejects.toThrow('aborted')
  })

  it('of the platform is as in the table, in few words', async () => {
    await open()
    for (const [status, code, retry] of [
      [429, 'TOO_MANY_REQUESTS', '1'],
      [503, 'NO_CAPACITY', '1'],
      [504, 'DEADLINE_EXCEEDED', undefined],
    ] as const) {
      gateway.node.answer = (one) => answerError(one, status, code)
      const reply = await call('/')
      expect(reply).toMatchObject({
        status,
        headers: { 'x-forkyard-error': code, 'x-amzn-requestid': expect.any(String) as string },
      })
      expect(reply.headers['retry-after']).toBe(retry)
    }
  })

  it('to a client that does not read is given up, and the others go on', async () => {
    await open({ InvokeMode: 'RESPONSE_STREAM' })
    const closed = Promise.withResolvers<void>()
    gateway.node.answer = async (one) => {
      one.response.once('close', () => closed.resolve())
      await answerStream(
        one,
        (async function* () {
          yield httpAnswer({ statusCode: 200 })
          for (;;) yield Buffer.alloc(256 * 1024)
        })(),
      ).catch(() => undefined)
    }
    const response = await start('/').response
    response.pause()
    response.on('error', () => undefined)
    await closed.promise
  })
})

describe('a URL', () => {
  it('that nobody has is not found, whatever its host looks like', async () => {
    for (const other of ['aaaa', 'a.b', '__proto__', '']) {
      host = `${other}.lambda-url.localhost:${gateway.port}`
      expect(await call('/')).toMatchObject({ status: 404, body: '{"Message":"Not Found"}' })
    }
  })

  it('is found whatever the case and port of its host', async () => {
    await open()
    gateway.node.answer = answer({ statusCode: 200 })
    const [name = ''] = host.split(':')
    for (const form of [name.toUpperCase(), name, `${name}:80`, `${name}.`]) {
      host = form
      expect((await call('/')).status).toBe(200)
    }
  })

  describe('with AWS_IAM', () => {
    beforeEach(async () => {
      await open({ AuthType: 'AWS_IAM' })
      gateway.node.answer = echo
    })
    it('lets its owner in, says who it is, and keeps the credentials', async () => {
      const reply = await call('/p?a=b', { method: 'POST', headers: await signed('body'), body: 'body' })
      const { prelude, body } = JSON.parse(reply.body) as { prelude: HttpPrelude; body: string }
      expect({ status: reply.status, body, principal: prelude.principal }).toEqual({
        status: 200,
        body: 'body',
        principal: account.accessKeyId,
      })
      expect(JSON.stringify(prelude)).not.toContain('Signature')
    })

    it.each<[string, () => Promise<Sent>]>([
      ['nobody', async () => ({ method: 'POST', body: 'body' })],
      ['another tenant', async () => ({ method: 'POST', headers: await signed('body', otherAccount), body: 'body' })],
      [
        'a wrong key',
        async () => ({
          method: 'POST',
          headers: await signed('body', { ...account, secretAccessKey: 'x' }),
          body: 'body',
        }),
      ],
      ['another body', async () => ({ method: 'POST', headers: await signed('body'), body: 'BODY' })],
    ])('keeps out %s', async (_case, sent) => {
      expect(await call('/p?a=b', await sent())).toMatchObject({ status: 403, body: '{"Message":"Forbidden"}' })
      expect(gateway.placements).toEqual([])
    })
  })

  describe('with CORS settings', () => {
    const origin = 'https://a.example'
    beforeEach(() => {
      gateway.node.answer = answer({
        statusCode: 200,
        headers: { 'access-control-allow-origin': 'https://wrong.example', vary: 'Accept' },
      })
    })
    const Cors = {
      AllowOrigins: [origin],
      AllowMethods: ['GET', 'POST'],
      AllowHeaders: ['x-a'],
      ExposeHeaders: ['x-b'],
      AllowCredentials: true,
      MaxAge: 60,
    }

    it('answers preflights itself, without credentials', async () => {
      await open({ AuthType: 'AWS_IAM', Cors })
      expect(await call('/', preflight(origin))).toMatchObject({
        status: 200,
        body: '',
        headers: {
          'access-control-allow-origin': origin,
          'access-control-allow-methods': 'GET, POST',
          'access-control-allow-headers': 'x-a',
          'access-control-allow-credentials': 'true',
          'access-control-max-age': '60',
          vary: 'Origin',
        },
      })
      expect((await call('/', preflight('https://b.example'))).headers['access-control-allow-origin']).toBeUndefined()
      expect(gateway.placements).toEqual([])
    })

    it('sets its headers on answers and errors, over those of the function', async () => {
      await open({ Cors })
      const { headers } = await call('/', { headers: { origin } })
      expect(headers).toMatchObject({
        'access-control-allow-origin': origin,
        'access-control-expose-headers': 'x-b',
        vary: 'Accept, Origin',
      })
      gateway.node.answer = (one) => answerError(one, 503, 'NO_CAPACITY')
      expect((await call('/', { headers: { origin } })).headers['access-control-allow-origin']).toBe(origin)
    })

    it('takes any origin when it says so', async () => {
      await open({ Cors: { AllowOrigins: ['*'] } })
      expect((await call('/', preflight('https://any.example'))).headers['access-control-allow-origin']).toBe('*')
    })

    it('leaves all to the function without them', async () => {
      await open()
      const { headers } = await call('/', preflight(origin))
      expect(headers['access-control-allow-origin']).toBe('https://wrong.example')
      expect(gateway.placements).toHaveLength(1)
    })
  })
})
