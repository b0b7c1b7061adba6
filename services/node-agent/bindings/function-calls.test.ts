import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { CallingInvocation } from '../node-gateway/calling-invocation.ts'
import { createFunctionCaller, type FunctionCaller } from './function-calls.ts'
import { Gateways } from './gateways.ts'
import type { Used } from './http-proxy.ts'

let gateway: Server
let proxy: Server
let caller: FunctionCaller
let gateways: Gateways
let calling: CallingInvocation | undefined
let handle: (request: IncomingMessage, response: ServerResponse) => void
const used = vi.fn<Used>()
const logger = pino({ level: 'silent' })
const portOf = (server: Server): number => (server.address() as AddressInfo).port
const urlOf = (server: Server): string => `http://127.0.0.1:${portOf(server)}`
const listening = async (server: Server): Promise<Server> => {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return server
}
/** Nobody listens there. */
const deadUrl = async (): Promise<string> => {
  const server = await listening(createServer())
  const url = urlOf(server)
  await new Promise((resolve) => server.close(resolve))
  return url
}

beforeEach(async () => {
  used.mockClear()
  calling = { ticket: 'the ticket', traceparent: 'the trace', shared: false }
  gateway = await listening(createServer((request, response) => handle(request, response)))
  handle = (request, response) => void echo(request, response)
  gateways = new Gateways()
  caller = createFunctionCaller({ gateways, token: 'the token', ca: undefined, logger })
  proxy = await listening(
    createServer((request, response) => void caller.forward({ request, response, name: 'other', calling, used })),
  )
})
afterEach(async () => {
  await caller.close()
  for (const server of [proxy, gateway]) {
    server.closeAllConnections()
    server.close()
  }
})

const echo = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const { method, url, headers } = request
  const body = JSON.stringify({ method, url, headers, body: await text(request) })
  response
    .writeHead(201, { 'x-amzn-requestid': 'called', 'forkyard-other': 'x', connection: 'keep-alive, x-hop' })
    .end(body)
}
const here = (url: string): void => gateways.heard({ url, leaving: false })
const call = (path: string, init: RequestInit = {}): Promise<Response> => fetch(`${urlOf(proxy)}${path}`, init)

describe('a call of another function', () => {
  it('goes to a gateway with what proves whose it is, and nothing that the function says of that', async () => {
    here(urlOf(gateway))
    const forged = {
      'forkyard-ticket': 'mine',
      'forkyard-binding': 'mine',
      'forkyard-shared': '1',
      authorization: 'own',
    }
    const reply = await call('/a?b=%20', { method: 'PUT', headers: forged, body: 'hello' })
    const seen = (await reply.json()) as { headers: Record<string, string> }
    expect(seen).toMatchObject({
      method: 'PUT',
      url: '/a?b=%20',
      body: 'hello',
      headers: {
        'proxy-authorization': 'Bearer the token',
        'forkyard-ticket': 'the ticket',
        'forkyard-binding': 'other',
        traceparent: 'the trace',
        authorization: 'own',
        host: `127.0.0.1:${portOf(proxy)}`,
      },
    })
    expect(seen.headers).not.toHaveProperty('forkyard-shared')
    expect([reply.status, reply.headers.get('forkyard-other')]).toEqual([201, null])
    expect(used.mock.calls).toEqual([['used', { calledInvocationId: 'called' }]])
  })

  it('outside of an invocation is refused, and so is one where there are no calls', async () => {
    here(urlOf(gateway))
    calling = undefined
    expect((await call('/')).status).toBe(403)
    expect(used.mock.calls).toEqual([['refused']])
    calling = { ticket: 't', traceparent: undefined, shared: true }
    await caller.close()
    caller = createFunctionCaller({ gateways, token: undefined, ca: undefined, logger })
    expect((await call('/')).status).toBe(503)
  })

  it('that the gateway refuses is refused, and recorded as that', async () => {
    here(urlOf(gateway))
    handle = (_request, response) => void response.writeHead(403, { 'forkyard-error': 'FORBIDDEN' }).end('no')
    const reply = await call('/')
    expect([reply.status, await reply.text(), used.mock.calls]).toEqual([403, 'no', [['refused']]])
  })

  it('whose function answers 403 was used', async () => {
    here(urlOf(gateway))
    handle = (_request, response) => void response.writeHead(403).end()
    expect((await call('/')).status).toBe(403)
    expect(used.mock.calls).toEqual([['used', {}]])
  })

  it('goes to the next gateway when one is gone, with its body whole', async () => {
    here(await deadUrl())
    here(urlOf(gateway))
    for (let times = 0; times < 4; times++) {
      const reply = await call('/', { method: 'POST', body: 'x'.repeat(100_000) })
      expect(((await reply.json()) as { body: string }).body).toHaveLength(100_000)
    }
  })

  it('waits for a gateway that is not there yet', async () => {
    const reply = call('/', { method: 'POST', body: 'patient' })
    setTimeout(() => here(urlOf(gateway)), 300)
    expect(await (await reply).json()).toMatchObject({ body: 'patient' })
  })

  it('that broke off after it had begun is not made again', async () => {
    here(urlOf(gateway))
    let times = 0
    handle = (request) => {
      times++
      request.once('data', () => request.socket.destroy())
    }
    const told = vi.spyOn(logger, 'warn')
    expect((await call('/', { method: 'POST', body: 'once' })).status).toBe(502)
    expect(times).toBe(1)
    // Why, is the operator's to know.
    expect(told.mock.calls).toMatchObject([[{ err: expect.any(Error) as Error, binding: 'other' }, expect.any(String)]])
  })

  it('is given up with the function that made it', async () => {
    here(urlOf(gateway))
    const closed = new Promise((resolve) => {
      handle = (_request, response) => void response.once('close', () => resolve('closed'))
    })
    const gone = new AbortController()
    const reply = call('/', { signal: gone.signal }).catch(() => undefined)
    setTimeout(() => gone.abort(), 100)
    await reply
    expect(await closed).toBe('closed')
  })
})
