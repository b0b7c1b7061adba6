import { setTimeout as delay } from 'node:timers/promises'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { preludeDelimiter } from '../../contracts/node.ts'
import { answerError, answerStream, answerWhole, httpAnswer } from '../testing/fake-node.ts'

import { gateway, open, start, call, answer, useFunctionUrl } from '../testing/function-url.ts'

useFunctionUrl()

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
    ['HEAD', 200, 'BUFFERED'],
    ['HEAD', 200, 'RESPONSE_STREAM'],
    ['GET', 204, 'BUFFERED'],
    ['GET', 204, 'RESPONSE_STREAM'],
    ['GET', 304, 'BUFFERED'],
    ['GET', 304, 'RESPONSE_STREAM'],
  ] as const)('to %s with %d has no body: %s', async (method, statusCode, InvokeMode) => {
    await open({ InvokeMode })
    const whole = httpAnswer({ statusCode, headers: { 'content-length': '4' } }, 'body')
    gateway.node.answer = (one) => (InvokeMode === 'BUFFERED' ? answerWhole(one, whole) : answerStream(one, [whole]))
    expect(await call('/', { method })).toMatchObject({ status: statusCode, body: '' })
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
