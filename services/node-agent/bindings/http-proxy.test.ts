import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { HttpBinding } from '../../contracts/bindings.ts'
import type { Guard } from '../network/map-encoding.ts'
import { createHttpForwarder, type HttpForwarder } from './http-proxy.ts'
import { Reach } from './reach.ts'

let origin: Server
let proxy: Server
let forwarder: HttpForwarder
let binding: HttpBinding
let guards: Guard[] = []
const used = vi.fn<(verdict: 'used' | 'refused') => void>()
let handle: (request: IncomingMessage, response: ServerResponse) => void
const echo = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const { method, url, headers } = request
  response.end(JSON.stringify({ method, url, headers, body: await text(request) }))
}
const portOf = (server: Server): number => (server.address() as AddressInfo).port

beforeAll(async () => {
  forwarder = createHttpForwarder(new Reach(() => guards))
  origin = createServer((request, response) => handle(request, response)).listen(0, '127.0.0.1')
  proxy = createServer((request, response) => void forwarder.forward({ request, response, name: 'api', binding, used }))
  proxy.listen(0, '127.0.0.1')
  await Promise.all([once(origin, 'listening'), once(proxy, 'listening')])
})
afterAll(async () => {
  await forwarder.close()
  for (const server of [proxy, origin]) {
    server.closeAllConnections()
    server.close()
  }
})
beforeEach(() => {
  guards = []
  used.mockClear()
  handle = (request, response) => void echo(request, response)
  binding = { type: 'http', url: `http://127.0.0.1:${portOf(origin)}/v1`, headers: { Authorization: 'Bearer secret' } }
})

const call = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${portOf(proxy)}${path}`, { redirect: 'manual', ...init })

/** Bytes as they are. */
const raw = async (bytes: string): Promise<string> => {
  const socket = connect(portOf(proxy), '127.0.0.1')
  socket.write(bytes)
  return text(socket)
}

describe('a request through a binding of an HTTP origin', () => {
  it('has the binding’s credentials in place of the function’s, and the origin’s host', async () => {
    const reply = await call('/things?a=1&b=%20', {
      method: 'POST',
      headers: { authorization: 'Bearer mine', 'x-own': 'kept', connection: 'close, x-hop' },
      body: 'hello',
    })
    expect(await reply.json()).toMatchObject({
      method: 'POST',
      url: '/v1/things?a=1&b=%20',
      body: 'hello',
      headers: { authorization: 'Bearer secret', 'x-own': 'kept', host: `127.0.0.1:${portOf(origin)}` },
    })
    expect(JSON.stringify([...reply.headers])).not.toContain('secret')
  })

  it.each([
    ['an absolute form', 'GET http://127.0.0.1:1/x HTTP/1.1'],
    ['an asterisk', 'OPTIONS * HTTP/1.1'],
    ['a path that leaves the binding’s', 'GET /../admin HTTP/1.1'],
    ['the same in another spelling', 'GET /%2e%2e/admin HTTP/1.1'],
    ['the same with a backslash', 'GET /..\\admin HTTP/1.1'],
  ])('is refused with 400 when its target is %s', async (_what, line) => {
    handle = () => expect.unreachable()
    expect(await raw(`${line}\r\nhost: api.internal\r\n\r\n`)).toMatch(/^HTTP\/1\.1 400 /)
  })

  it('keeps to its origin whatever its host header says', async () => {
    expect(await raw('GET /x HTTP/1.1\r\nhost: 169.254.169.254\r\nconnection: close\r\n\r\n')).toContain(
      '"url":"/v1/x"',
    )
    expect(await raw('GET //127.0.0.1:1/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')).toContain(
      '"url":"/v1//127.0.0.1:1/x"',
    )
  })

  it('is told of redirects, which lead into the binding or out of it, and are not followed', async () => {
    const answers = ['/v1/there?x=1', 'http://127.0.0.1:1/elsewhere']
    handle = (_request, response) => void response.writeHead(302, { location: answers.shift() }).end()
    expect((await call('/a')).headers.get('location')).toBe('http://api.internal/v1/there?x=1')
    expect((await call('/b')).headers.get('location')).toBe('http://127.0.0.1:1/elsewhere')
  })

  it('is streamed both ways', async () => {
    handle = (request, response) => void request.pipe(response)
    const sent = httpRequest({ port: portOf(proxy), host: '127.0.0.1', method: 'PUT', path: '/s' })
    const answered = once(sent, 'response') as Promise<[IncomingMessage]>
    sent.write('first')
    const [answer] = await answered
    const [part] = (await once(answer, 'data')) as [Buffer]
    expect(part.toString()).toBe('first')
    sent.end('second')
    expect(await text(answer)).toBe('second')
  })

  it('gets 502 where nobody answers, and an end where the origin dies in the middle', async () => {
    handle = (_request, response) =>
      void response.writeHead(200, { 'content-length': 10 }).write('12345', () => response.destroy())
    await expect(call('/half').then((reply) => reply.text())).rejects.toThrow()
    binding = { type: 'http', url: 'http://127.0.0.1:1' }
    const reply = await call('/')
    expect([reply.status, await reply.json()]).toEqual([502, { message: 'binding api: it cannot be reached' }])
  })

  it.each([
    ['by its address', '127.0.0.1'],
    ['by a name', 'localhost'],
  ])('goes nowhere that functions may not go, %s', async (_how, host) => {
    binding = { type: 'http', url: `http://${host}:${portOf(origin)}` }
    expect((await call('/')).status).toBe(200)
    expect(used).toHaveBeenLastCalledWith('used')
    const own = [127, 0, 0, 1]
    guards = [
      { family: 4, bytes: own, bits: 8, kind: 'never' },
      { family: 6, bytes: [...Array<number>(15).fill(0), 1], bits: 128, kind: 'never' },
    ]
    // What was open before is used again: the judgement is the connection's.
    await forwarder.close()
    forwarder = createHttpForwarder(new Reach(() => guards))
    expect((await call('/')).status).toBe(403)
    expect(used).toHaveBeenLastCalledWith('refused')
    // Of the host's own: open to whoever names it, but for the platform's ports.
    guards = [{ family: 4, bytes: own, bits: 32, kind: 'exact' }]
    expect((await call('/')).ok).toBe(host !== 'localhost')
    guards = [{ family: 4, bytes: own, bits: 32, kind: 'exact', ports: [portOf(origin)] }]
    expect((await call('/')).ok).toBe(false)
  })

  it('ends at the origin when the function hangs up', async () => {
    const closed = Promise.withResolvers<void>()
    const arrived = Promise.withResolvers<void>()
    handle = (_request, response) => {
      arrived.resolve()
      response.once('close', () => closed.resolve())
    }
    const gone = new AbortController()
    const asked = call('/slow', { signal: gone.signal })
    await arrived.promise
    gone.abort()
    await expect(asked).rejects.toThrow()
    await closed.promise
  })
})
