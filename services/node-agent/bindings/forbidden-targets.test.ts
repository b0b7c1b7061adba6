/**
 * Ways by which a binding could lead the node's proxy to its own host: spellings, names that change, redirects, tunnels. A canary listens
 * there and must hear nothing. Negative control: without guards, or by a client that does what such ways hope for, it hears.
 */
import * as dns from 'node:dns'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo, type LookupFunction } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { addressPlan } from '../network/addresses.ts'
import { guardsOf } from '../network/guards.ts'
import { createHttpForwarder, type HttpForwarder } from './http-proxy.ts'
import { Reach, UnreachableError } from './reach.ts'

vi.mock('node:dns', async (original) => {
  const real = await original<typeof dns>()
  return { ...real, lookup: vi.fn(real.lookup) }
})

/** As a node has them. */
const guards = guardsOf({ plan: addressPlan('forkyard-a'), platformPorts: [], platformAddresses: [], never: [] })

let canary: Server
const heard = vi.fn<(authorization: string | undefined) => void>()
let proxy: Server
let url: string
let closeForwarders: (() => Promise<void>)[] = []
let forwarder: HttpForwarder
const portOf = (server: Server): number => (server.address() as AddressInfo).port
const headers = { authorization: 'Bearer secret' }
const used = (): void => undefined

beforeAll(async () => {
  canary = createServer((request, response) => {
    heard(request.headers.authorization)
    response.end('canary')
  })
  canary.on('connection', () => heard('a connection'))
  proxy = createServer((request, response) => {
    void forwarder.forward({ request, response, name: 'api', binding: { type: 'http', url, headers }, used })
  })
  // All addresses of the host, both families.
  canary.listen(0, '::')
  proxy.listen(0, '127.0.0.1')
  await Promise.all([once(canary, 'listening'), once(proxy, 'listening')])
})
afterAll(async () => {
  for (const close of closeForwarders) await close()
  for (const server of [proxy, canary]) {
    server.closeAllConnections()
    server.close()
  }
})
beforeEach(() => heard.mockClear())

/** What a function gets through a binding to there. */
const ask = async (target: string, guarded: boolean): Promise<number> => {
  url = target
  forwarder = createHttpForwarder(new Reach(() => (guarded ? guards : [])))
  closeForwarders.push(() => forwarder.close())
  const reply = await fetch(`http://127.0.0.1:${portOf(proxy)}/`, { redirect: 'manual' })
  const body = await reply.text()
  expect(JSON.stringify([body, ...reply.headers])).not.toContain('secret')
  return reply.status
}

describe('a binding that leads to the host', () => {
  it.each([
    'localhost',
    '127.0.0.1',
    '127.0.0.2',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '0.0.0.0',
    '0',
    '[::1]',
    '[::]',
    '[0:0:0:0:0:0:0:1]',
  ])('as %s is refused before there is a connection; without guards there is one', async (host) => {
    expect(await ask(`http://${host}:${portOf(canary)}/`, true)).toBe(403)
    expect(heard).not.toHaveBeenCalled()
    expect(await ask(`http://${host}:${portOf(canary)}/`, false)).toBe(200)
    expect(heard).toHaveBeenCalledWith('Bearer secret')
  })

  // Without guards these are refused as well: no rule can name an IPv4 address inside of an IPv6 one. So the client is another.
  it.each(['[::ffff:127.0.0.1]', '[::ffff:7f00:1]'])('as %s, too, to which any other client comes', async (host) => {
    expect(await ask(`http://${host}:${portOf(canary)}/`, true)).toBe(403)
    expect(heard).not.toHaveBeenCalled()
    await fetch(`http://${host}:${portOf(canary)}/`)
    expect(heard).toHaveBeenCalled()
  })
})

it.each(['169.254.169.254', '2852039166', '0xa9fea9fe', '0251.0376.0251.0376', '[fd00:ec2::254]', '[fe80::1]'])(
  'metadata services are refused, as %s; without guards they are not',
  (host) => {
    const { hostname } = new URL(`http://${host}/`)
    expect(() => new Reach(() => guards).check(hostname, 80)).toThrow(UnreachableError)
    expect(() => new Reach(() => []).check(hostname, 80)).not.toThrow()
  },
)

/** What the next questions are answered, one after the other; the last one for good. */
const answers = (...all: string[][]): void => {
  const answer = (() => (all.length > 1 ? all.shift() : all[0])) as () => string[]
  vi.mocked(dns.lookup).mockImplementation(
    ((_name: string, _options: unknown, callback: Function) =>
      void callback(
        null,
        answer().map((address) => ({ address, family: 4 })),
      )) as never,
  )
}
const visit = async (lookup: LookupFunction): Promise<string> => {
  const socket = connect({ host: 'rebound.example', port: portOf(canary), lookup })
  socket.end('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  return text(socket)
}
describe('a name that changes what it leads to', () => {
  const guarded = new Reach(() => guards)

  it('is judged by the answer that is connected to', async () => {
    answers(['198.51.100.7'], ['127.0.0.1'])
    // Somebody looks first, and finds nothing wrong.
    expect(await guarded.addressOf('rebound.example', 80)).toBe('198.51.100.7')
    await expect(visit(guarded.lookup(portOf(canary)))).rejects.toThrow(UnreachableError)
    expect(heard).not.toHaveBeenCalled()
  })

  it('negative control: whoever looks first and then connects by name is led there', async () => {
    answers(['198.51.100.7'], ['127.0.0.1'])
    expect(await guarded.addressOf('rebound.example', 80)).toBe('198.51.100.7')
    expect(await visit(new Reach(() => []).lookup(portOf(canary)))).toContain('canary')
    expect(heard).toHaveBeenCalled()
  })

  it('to several addresses leads only to those that are open', async () => {
    answers(['127.0.0.1', '198.51.100.7', '169.254.169.254'])
    expect(await guarded.addressOf('rebound.example', 80)).toBe('198.51.100.7')
    // Negative control: the first would have been the host.
    expect(await new Reach(() => []).addressOf('rebound.example', 80)).toBe('127.0.0.1')
  })
})

describe('an origin that sends on to the host', () => {
  let origin: Server
  beforeAll(async () => {
    origin = createServer((_request, response) =>
      response.writeHead(307, { location: `http://127.0.0.1:${portOf(canary)}/` }).end(),
    ).listen(0, '127.0.0.1')
    await once(origin, 'listening')
  })
  afterAll(() => {
    origin.closeAllConnections()
    origin.close()
  })

  it('is not followed, and the canary hears no credential', async () => {
    expect(await ask(`http://127.0.0.1:${portOf(origin)}/`, false)).toBe(307)
    expect(heard).not.toHaveBeenCalled()
  })

  it('negative control: a client that follows comes there', async () => {
    await fetch(`http://127.0.0.1:${portOf(origin)}/`, { headers })
    expect(heard).toHaveBeenCalled()
  })
})

it('no tunnel is opened by CONNECT; to whoever connects by itself the canary answers', async () => {
  const tunnel = async (port: number): Promise<string> => {
    const socket = connect(port, '127.0.0.1')
    socket.write(`CONNECT 127.0.0.1:${portOf(canary)} HTTP/1.1\r\nhost: a\r\n\r\n`)
    socket.end('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    return text(socket)
  }
  expect(await tunnel(portOf(proxy))).not.toContain('canary')
  expect(heard).not.toHaveBeenCalled()
  // Negative control: with a proxy that does as it is told.
  const obliging = createServer().on('connect', ({ url: to = '' }, socket, head) => {
    const onward = connect(Number(to.split(':')[1]), to.split(':')[0])
    onward.write(head)
    onward.pipe(socket)
    socket.pipe(onward)
  })
  obliging.listen(0, '127.0.0.1')
  await once(obliging, 'listening')
  try {
    expect(await tunnel(portOf(obliging))).toContain('canary')
  } finally {
    obliging.closeAllConnections()
    obliging.close()
  }
})
