/** A node that joined, before a gateway's port with a real certificate. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, get, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json, text } from 'node:stream/consumers'
import { pino } from 'pino'
import { Value } from 'typebox/value'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { issueCertificates } from '../../../stacks/components/issue-certificates.ts'
import { NodeAgentConfig } from '../config.ts'
import { isDue, makeCertificate, type KeyPair } from './certificate.ts'
import { StayJoined } from './stay-joined.ts'
import { ofInstallation, ofMachine } from './testing/joined-config.ts'

const logger = pino({ level: 'silent' })
const issued = issueCertificates(
  { subjects: { gateway: { names: ['gateway'], addresses: [] } }, days: 2 },
  undefined,
  Date.now(),
)
const foreign = issueCertificates({ subjects: {}, days: 2 }, undefined, Date.now()).authority.cert
const own = await makeCertificate('y_a', '127.0.0.1')
const soonOver = await makeCertificate('y_a', '127.0.0.1', 1)
const dayMs = 24 * 3_600_000

let dir: string
let server: Server
let asked: { path: string | undefined; token: unknown; body: { certificate?: string } }[]
let answer: { status: number; body: unknown }
let stay: StayJoined | undefined
let begun: number
let used: KeyPair[]

const said = (more: object = {}) => ({
  ...ofInstallation({ urls: [urlOf()], authority: issued.authority.cert }),
  ...more,
})
const urlOf = (): string => `https://127.0.0.1:${(server.address() as AddressInfo).port}`
const machineWith = (pair: KeyPair) => ofMachine({ ca: issued.authority.cert, ...pair })
const file = () => join(dir, 'config.json')
const written = () => JSON.parse(readFileSync(file(), 'utf8')) as NodeAgentConfig

const start = (pair = own, now?: () => number, more: object = {}): void => {
  const config = { ...said(more), ...machineWith(pair) }
  writeFileSync(file(), JSON.stringify(config), { mode: 0o600 })
  stay = new StayJoined({
    config: Value.Parse(NodeAgentConfig, Value.Default(NodeAgentConfig, structuredClone(config))),
    configFile: file(),
    logger,
    beginAnew: () => void begun++,
    times: { everyMs: 50, againMs: 20, spreadMs: 10 },
    ...(now ? { now } : {}),
  })
  stay.useCertificate = (next) => void used.push(next)
  stay.start()
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'stay-joined-'))
  ;[asked, used, begun] = [[], [], 0]
  const { cert = '', key = '' } = issued.certificates['gateway'] ?? {}
  server = createServer({ cert, key }, (request, response) => {
    const take = async (): Promise<void> => {
      const { url: path, headers } = request
      asked.push({
        path,
        token: headers['proxy-authorization'],
        body: (await json(request)) as { certificate?: string },
      })
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body))
    }
    void take()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  answer = { status: 200, body: { nodeId: 'y_a', agent: said() } }
})
afterEach(() => {
  stay?.close()
  stay = undefined
  server.closeAllConnections()
  server.close()
  rmSync(dir, { recursive: true })
})

const untilAsked = (times: number) => vi.waitFor(() => expect(asked.length).toBeGreaterThanOrEqual(times), 5_000)

describe('a node that joined', () => {
  it('asks as itself, again and again, and goes on where nothing is new', async () => {
    start()
    await untilAsked(3)
    expect(asked[0]).toEqual({ path: '/v1/nodes/refresh', token: `Bearer y_a.${'c'.repeat(64)}`, body: {} })
    expect([begun, used]).toEqual([0, []])
  })

  it('begins anew with other keys, which are in its file first', async () => {
    const environmentKeys = [{ id: 'environment-2', key: '3'.repeat(64) }]
    answer = { status: 200, body: { nodeId: 'y_a', agent: said({ environmentKeys }) } }
    start()
    await vi.waitFor(() => expect(begun).toBeGreaterThan(0), 5_000)
    expect(written()).toMatchObject({ environmentKeys, runscPath: '/none/runsc', tls: { cert: own.cert } })
    expect(statSync(file()).mode & 0o777).toBe(0o600)
  })

  it('begins anew where gateways moved, so that its port is opened to them', async () => {
    const controlAddresses = ['192.0.2.7']
    const agent = said()
    answer = {
      status: 200,
      body: { nodeId: 'y_a', agent: { ...agent, joined: { ...agent.joined, controlAddresses } } },
    }
    start()
    await vi.waitFor(() => expect(begun).toBeGreaterThan(0), 5_000)
    expect(written()).toMatchObject({ joined: { urls: [urlOf()], controlAddresses } })
  })

  it('forgets what the installation says no more', async () => {
    start(own, undefined, { parkedRestores: 3 })
    await vi.waitFor(() => expect(begun).toBeGreaterThan(0), 5_000)
    expect(written()).not.toHaveProperty('parkedRestores')
  })

  it('does not take what is no configuration', async () => {
    answer = { status: 200, body: { nodeId: 'y_a', agent: said({ nats: 'none' }) } }
    start()
    const before = readFileSync(file(), 'utf8')
    await untilAsked(3)
    expect(begun).toBe(0)
    expect(readFileSync(file(), 'utf8')).toBe(before)
  })

  it('takes no more work when it was removed, and again when it is known', async () => {
    answer = { status: 403, body: { code: 'FORBIDDEN', message: 'removed' } }
    start()
    await vi.waitFor(() => expect(stay?.removed).toBe(true), 5_000)
    answer = { status: 200, body: { nodeId: 'y_a', agent: said() } }
    await vi.waitFor(() => expect(stay?.removed).toBe(false), 5_000)
    expect(begun).toBe(0)
  })

  it('tells nothing to a gateway of another authority', async () => {
    start(own, undefined, { joined: { ...said().joined, authority: foreign } })
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(asked).toEqual([])
    expect(stay?.removed).toBe(false)
  })
})

describe('its certificate', () => {
  it('is due after two thirds of its life', () => {
    expect(isDue(soonOver.cert, Date.now() + dayMs / 2)).toBe(false)
    expect(isDue(soonOver.cert, Date.now() + dayMs * 0.7)).toBe(true)
  })

  it('is another one then, which the installation and the file have first', async () => {
    start(soonOver, () => Date.now() + dayMs * 0.7)
    await vi.waitFor(() => expect(used.length).toBeGreaterThan(0), 5_000)
    const [next] = used
    expect(asked.at(-1)?.body.certificate ?? asked[0]?.body.certificate).toBeDefined()
    expect(asked[0]?.body).toEqual({ certificate: next?.cert })
    expect(written().tls).toMatchObject({ cert: next?.cert, key: next?.key })
    expect(begun).toBe(0)
  })

  it('is switched to later, where the file could not be written', async () => {
    start(soonOver, () => Date.now() + dayMs * 0.7)
    rmSync(file())
    await untilAsked(2)
    expect(used).toEqual([])
    writeFileSync(file(), JSON.stringify({ ...said(), ...machineWith(soonOver) }))
    await vi.waitFor(() => expect(used.length).toBeGreaterThan(0), 5_000)
    expect(new Set(asked.flatMap(({ body }) => body.certificate ?? [])).size).toBe(1)
    expect(written().tls?.cert).toBe(used[0]?.cert)
  })

  it('stays where no gateway took the other one', async () => {
    answer = { status: 503, body: { code: 'UNAVAILABLE', message: 'no' } }
    start(soonOver, () => Date.now() + dayMs * 0.7)
    await untilAsked(3)
    // The same each time: the record has two, and one of these is in use.
    expect(new Set(asked.map(({ body }) => body.certificate)).size).toBe(1)
    expect(used).toEqual([])
    expect(written().tls?.cert).toBe(soonOver.cert)
  })

  it('changes under requests that trust both, of which none fails', async () => {
    const next = await makeCertificate('y_a', '127.0.0.1')
    const agent = createServer(own, (_request, response) => response.end('ok'))
    await once(agent.listen(0, '127.0.0.1'), 'listening')
    const { port } = agent.address() as AddressInfo
    const ask = async (ca: string): Promise<string> => {
      const { promise, resolve, reject } = Promise.withResolvers<import('node:http').IncomingMessage>()
      get({ host: '127.0.0.1', port, ca, servername: 'node-agent', agent: false }, resolve).on('error', reject)
      return text(await promise)
    }
    const both = `${next.cert}\n${own.cert}`
    const answers = Array.from({ length: 20 }, async (_, index) => {
      if (index === 10) agent.setSecureContext(next)
      return ask(both)
    })
    expect(await Promise.all(answers)).toEqual(answers.map(() => 'ok'))
    expect(await ask(next.cert)).toBe('ok')
    // Negative control: the one that it was pinned to is over.
    await expect(ask(own.cert)).rejects.toThrow()
    agent.closeAllConnections()
    agent.close()
  })
})
