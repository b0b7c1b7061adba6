import { Agent, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { PlatformError } from '../contracts/errors.ts'
import { protocolHeader, protocolVersion } from '../contracts/protocol.ts'
import { buildServer, createMetrics, drainServer, requireBearer } from './http-server.ts'

const logger = pino({ level: 'silent' })
const build = (notReady: () => string | undefined = () => undefined) =>
  buildServer({ logger, metrics: createMetrics(), notReady })

describe('buildServer', () => {
  it('answers errors with their row of the table, and hides what nobody foresaw', async () => {
    const app = build()
    app.get('/known', async () => {
      throw new PlatformError('NO_CAPACITY', 'full', { memoryMiB: 1 })
    })
    app.get('/unknown', async () => {
      throw new Error('secret')
    })
    const known = await app.inject('/known')
    expect([known.statusCode, known.json()]).toEqual([
      503,
      { code: 'NO_CAPACITY', message: 'full', details: { memoryMiB: 1 } },
    ])
    const unknown = await app.inject('/unknown')
    expect([unknown.statusCode, unknown.json().code]).toEqual([500, 'INTERNAL'])
    expect(unknown.body).not.toContain('secret')
    expect((await app.inject('/nowhere')).json().code).toBe('UNKNOWN_OPERATION')
  })

  it('is alive at once, ready when nothing is missing', async () => {
    let missing: string | undefined = 'nats'
    const app = build(() => missing)
    expect((await app.inject('/healthz')).statusCode).toBe(200)
    const early = await app.inject('/readyz')
    expect([early.statusCode, early.json().missing]).toEqual([503, 'nats'])
    missing = undefined
    expect((await app.inject('/readyz')).statusCode).toBe(200)
  })
})

describe('requireBearer', () => {
  it('lets in who has the token; health and metrics are open', async () => {
    const app = build()
    requireBearer(app, 't'.repeat(32))
    app.get('/inside', async () => 'in')
    const call = async (url: string, authorization?: string) =>
      (await app.inject({ url, headers: authorization ? { authorization } : {} })).statusCode
    expect(await call('/inside', `Bearer ${'t'.repeat(32)}`)).toBe(200)
    expect(await call('/inside', `Bearer ${'t'.repeat(31)}x`)).toBe(403)
    expect(await call('/inside')).toBe(403)
    expect(await call('/metrics')).toBe(200)
  })

  it('refuses a service that is more than one version away, and none without a token learns which', async () => {
    const app = build()
    requireBearer(app, 't'.repeat(32))
    app.get('/inside', async () => 'in')
    const call = async (spoken: number, token = 't'.repeat(32)) => {
      const headers = { authorization: `Bearer ${token}`, [protocolHeader]: String(spoken) }
      const reply = await app.inject({ url: '/inside', headers })
      return [reply.statusCode, reply.statusCode === 200 ? '' : reply.json().code]
    }
    expect(await call(protocolVersion)).toEqual([200, ''])
    expect(await call(protocolVersion + 1)).toEqual([200, ''])
    expect(await call(protocolVersion + 2)).toEqual([503, 'UNSUPPORTED_PROTOCOL'])
    expect(await call(protocolVersion + 2, 'wrong')).toEqual([403, 'FORBIDDEN'])
  })
})

describe('drainServer', () => {
  const agent = new Agent({ keepAlive: true, keepAliveMsecs: 60_000 })
  afterEach(() => agent.destroy())

  it('lets a request finish, and then waits for no keep-alive', async () => {
    const app = build()
    const entered = Promise.withResolvers<void>()
    const leave = Promise.withResolvers<void>()
    app.get('/slow', async () => {
      entered.resolve()
      await leave.promise
      return 'finished'
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.server.address() as AddressInfo
    const answer = new Promise<string>((resolve, reject) => {
      request({ host: '127.0.0.1', port, path: '/slow', agent }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.once('end', () => resolve(text)).once('error', reject)
      })
        .once('error', reject)
        .end()
    })
    await entered.promise
    const drained = drainServer(app, 60_000)
    leave.resolve()
    expect(await answer).toBe('finished')
    await drained
  })
})
