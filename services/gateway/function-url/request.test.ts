import { buffer } from 'node:stream/consumers'
import { describe, expect, it, vi } from 'vitest'
import { type HttpPrelude } from '../../contracts/node.ts'
import { answerError, answerStream, httpAnswer } from '../testing/fake-node.ts'

import { gateway, host, open, start, call, echo, useFunctionUrl } from '../testing/function-url.ts'

useFunctionUrl()

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
        // Who calls among functions is not for anybody to say.
        'x-forkyard-caller': 'me',
        'X-Forkyard-Caller-Invocation': 'mine',
        'forkyard-ticket': 'mine',
        ...length,
      }
      const reply = await call(path, { method, body, headers })
      const { prelude, body: seen } = JSON.parse(reply.body) as { prelude: HttpPrelude; body: string }
      expect(seen).toBe(body)
      expect(prelude).toMatchObject({ method, target: path, host, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1' })
      const names = prelude.headers.map(([name]) => name)
      expect(prelude.headers.filter(([name]) => name === 'x-two').map(([, value]) => value)).toEqual(['1', '2'])
      for (const hop of ['x-hop', 'connection', 'te', 'transfer-encoding']) expect(names).not.toContain(hop)
      expect(names.filter((name) => name.includes('forkyard'))).toEqual([])
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
