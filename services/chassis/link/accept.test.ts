import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { issueCertificates } from '../../../stacks/components/issue-certificates.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { protocolHeader, protocolVersion } from '../../contracts/protocol.ts'
import { serverTls, type HopTrust } from '../internal-tls.ts'
import { acceptLinks, type Session } from './accept.ts'
import { LinkClient, type LinkClientOptions } from './client.ts'
import type { Message } from './link.ts'

const token = 't'.repeat(32)
const path = '/v1/test-link'
const apps: FastifyInstance[] = []
const clients: LinkClient[] = []

/** Answers `echo`, fails `fail`, and answers `late` once `release` was called. */
const serve = async (options: Partial<FastifyServerOptions> = {}) => {
  const app = fastify(options) as unknown as FastifyInstance
  const late = Promise.withResolvers<Message>()
  const seen: { gone?: () => boolean } = {}
  const session: Session = {
    handle: ([kind, , ...rest], gone) => {
      if (kind === 'echo') return rest
      if (kind === 'fail') throw new PlatformError('NO_CAPACITY', 'full', { limit: 'x' })
      if (kind === 'broken') throw new TypeError('an inner secret')
      seen.gone = gone
      return late.promise
    },
  }
  acceptLinks(app, { path, token, open: () => session })
  apps.push(app)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, url, seen, release: () => late.resolve(['late']) }
}

const call = async (url: string, over: Partial<LinkClientOptions & HopTrust> = {}) => {
  const trust = () => ({ token: over.token ?? token, ca: over.ca })
  const client = new LinkClient({ url, path, trust, service: 'scheduler', connectMs: 2_000, ...over })
  clients.push(client)
  await client.open()
  return client
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  await Promise.all(apps.splice(0).map(async (app) => app.close()))
})

describe('calls over a link', () => {
  it('get their own answers, whatever the order', async () => {
    const { url, release } = await serve()
    const client = await call(url)
    const waiting = client.call('late', [], {})
    expect(await client.call('echo', [1, 'two'], {})).toEqual([1, 'two'])
    release()
    expect(await waiting).toEqual(['late'])
  })

  it('fail with what was thrown, without its insides', async () => {
    const client = await call((await serve()).url)
    await expect(client.call('fail', [], {})).rejects.toMatchObject({ code: 'NO_CAPACITY', details: { limit: 'x' } })
    const inner = client.call('broken', [], {})
    await expect(inner).rejects.toMatchObject({ code: 'INTERNAL' })
    await expect(inner).rejects.not.toThrow(/secret/)
  })

  it('that their caller gives up are known as such to the service', async () => {
    const { url, seen } = await serve()
    const client = await call(url)
    const caller = new AbortController()
    const waiting = client.call('late', [], { signal: caller.signal })
    const bounded = expect(client.call('late', [], { timeoutMs: 20 })).rejects.toThrow('no answer within 20 ms')
    await client.call('echo', [], {})
    expect(seen.gone?.()).toBe(false)
    caller.abort()
    await expect(waiting).rejects.toThrow('aborted')
    await bounded
    await client.call('echo', [], {})
    expect(seen.gone?.()).toBe(true)
  })

  it('fail when the service ends, and the next connection is another one', async () => {
    const { app, url } = await serve()
    const client = await call(url)
    const waiting = expect(client.call('late', [], {})).rejects.toThrow('the connection broke')
    await client.call('echo', [], {})
    await app.close()
    await waiting
    await expect(client.open()).rejects.toThrow('ECONNREFUSED')
  })
})

describe('a link is opened', () => {
  it('for the token alone, on its own path alone, and between services that understand each other', async () => {
    const { url } = await serve()
    await expect(call(url, { token: 'other'.repeat(8) })).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await expect(call(url, { path: '/v1/other' })).rejects.toThrow('404')
    const handshake = async (version: number, given = token) => {
      const headers = { authorization: `Bearer ${given}`, upgrade: 'forkyard-link', connection: 'upgrade' }
      const request = get(new URL(path, url), { headers: { ...headers, [protocolHeader]: version } })
      const answered = await Promise.race([once(request, 'upgrade'), once(request, 'response')])
      request.destroy()
      return (answered as [IncomingMessage])[0].statusCode
    }
    expect(await handshake(protocolVersion)).toBe(101)
    expect(await handshake(protocolVersion + 1)).toBe(101)
    expect(await handshake(protocolVersion + 2)).toBe(503)
    expect(await handshake(protocolVersion + 2, 'wrong')).toBe(403)
  })

  it('by a caller that understands what the service speaks', async () => {
    const server = createServer().on('upgrade', (_request, socket) => {
      socket.end(`HTTP/1.1 101 ok\r\nupgrade: forkyard-link\r\nconnection: upgrade\r\n${protocolHeader}: 99\r\n\r\n`)
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    await expect(call(`http://127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'UNSUPPORTED_PROTOCOL' })
    server.close()
  })

  it('and stays open longer than the connecting may take', async () => {
    const client = await call((await serve()).url, { connectMs: 100 })
    await delay(200)
    expect(await client.call('echo', [1], {})).toEqual([1])
  })

  it('over TLS to a service that proves to be it, and to no other', async () => {
    const subjects = { s: { names: ['scheduler'], addresses: [] } }
    const issued = issueCertificates({ subjects, days: 1 }, undefined, Date.now())
    const other = issueCertificates({ subjects, days: 1 }, undefined, Date.now())
    const { cert = '', key = '' } = issued.certificates['s'] ?? {}
    const { url } = await serve(serverTls({ ca: issued.authority.cert, cert, key }))
    const client = await call(url, { ca: issued.authority.cert })
    expect(await client.call('echo', ['secret'], {})).toEqual(['secret'])
    await expect(call(url, { ca: other.authority.cert })).rejects.toThrow(/certificate/)
    await expect(call(url, { ca: issued.authority.cert, service: 'node-agent' })).rejects.toThrow(/node-agent/)
  })
})
