/**
 * `npm run bench -- protocols`: one placement asked for and answered over each protocol that gateways could speak with schedulers, open-loop,
 * in turn in one run. The answer is the same and costs nothing, so what differs is the protocol.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as connectNats } from '@nats-io/transport-node'
import { Pool } from 'undici'
import type { PlacementRequest } from '../../../services/contracts/placement.ts'
import { PlacementLink } from '../../../services/gateway/placement-link.ts'
import { generateLoad } from '../schedule/load.ts'
import { internalToken, startNats } from '../schedule/processes.ts'
import { round } from '../schedule/row.ts'
import { percentile } from '../statistics.ts'
import type { ServerAddresses, ServerSettings } from './settings.ts'

export interface ProtocolRow {
  readonly name: string
  readonly perSecond: number
  readonly achievedPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
  /** CPU time of a call, without that of a server between the two. */
  readonly callerMicroseconds: number
  readonly calleeMicroseconds: number
}

type Ask = (request: PlacementRequest) => Promise<unknown>

const mostOpen = 20_000

const asked = (): PlacementRequest => ({
  invocationId: randomUUID(),
  revision: {
    tenant: 'tenant-1',
    name: `function-${Math.floor(Math.random() * 1000)}`,
    version: '$LATEST',
    revisionId: '3f1c5e9e-8a55-4d0e-9b57-0d1a51c3a0f1',
  },
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy: { concurrency: 1, reuse: true, keepAliveMs: 60_000 },
  startWish: 'auto',
  deadlineAt: Date.now() + 30_000,
  excludeNodes: [],
})

interface Caller {
  readonly ask: Ask
  readonly close: () => Promise<unknown>
}

const callers = (addresses: ServerAddresses, nats: ServerSettings['nats']): Record<string, () => Promise<Caller>> => ({
  'HTTP/1.1': async () => {
    const pool = new Pool(addresses.http1, { connections: 64, pipelining: 1 })
    const headers = { authorization: `Bearer ${internalToken}`, 'content-type': 'application/json' }
    const common = { method: 'POST', path: '/v1/placements', headers } as const
    return {
      ask: async (request) => (await pool.request({ ...common, body: JSON.stringify(request) })).body.json(),
      close: async () => pool.destroy(),
    }
  },
  'HTTP/2': async () => {
    const session = connectHttp2(addresses.http2)
    await once(session, 'connect')
    // Each call that fails says so itself.
    session.on('error', () => undefined)
    const headers = { ':method': 'POST', ':path': '/v1/placements', authorization: `Bearer ${internalToken}` }
    return {
      ask: async (request) => {
        const stream = session.request(headers)
        stream.end(JSON.stringify(request))
        return JSON.parse(await text(stream)) as unknown
      },
      close: async () => session.destroy(),
    }
  },
  'NATS request': async () => {
    const connection = await connectNats({ servers: nats.url, user: nats.user, pass: nats.password })
    return {
      ask: async (request) => (await connection.request('place', JSON.stringify(request), { timeout: 10_000 })).json(),
      close: async () => connection.close(),
    }
  },
  link: async () => {
    const link = new PlacementLink(addresses.http1, internalToken)
    await link.isThere()
    return { ask: (request) => link.place(request, new AbortController().signal), close: async () => link.close() }
  },
})

const microseconds = ({ user, system }: NodeJS.CpuUsage): number => user + system

const measure = async (
  name: string,
  { ask }: Caller,
  server: ChildProcess,
  perSecond: number,
  seconds: number,
): Promise<ProtocolRow> => {
  const calleeCpu = async (): Promise<number> => {
    const reply = once(server, 'message') as Promise<[NodeJS.CpuUsage]>
    server.send('cpu')
    return microseconds((await reply)[0])
  }
  const waits: number[] = []
  const open = new Set<Promise<void>>()
  let errors = 0
  const call = async (at: number): Promise<void> => {
    try {
      await ask(asked())
      waits.push(performance.now() - at)
    } catch {
      errors++
    }
  }
  const arrive = (at: number): void => {
    // One that cannot keep up shows that by now.
    if (open.size >= mostOpen) return void errors++
    const called = call(at).finally(() => open.delete(called))
    open.add(called)
  }
  await generateLoad({ perSecond, seconds: 2, arrive })
  await Promise.all(open)
  errors = 0
  waits.length = 0
  const [callee, caller, from] = [await calleeCpu(), microseconds(process.cpuUsage()), performance.now()]
  await generateLoad({ perSecond, seconds, arrive })
  await Promise.all(open)
  const tookSeconds = (performance.now() - from) / 1000
  const callerMicroseconds = round((microseconds(process.cpuUsage()) - caller) / waits.length)
  return {
    name,
    perSecond,
    achievedPerSecond: round(waits.length / tookSeconds),
    p50Ms: round(percentile(waits, 0.5)),
    p99Ms: round(percentile(waits, 0.99)),
    errors,
    callerMicroseconds,
    calleeMicroseconds: round(((await calleeCpu()) - callee) / waits.length),
  }
}

export const benchProtocols = async (
  rates: readonly number[],
  seconds: number,
  progress: (line: string) => void,
): Promise<ProtocolRow[]> => {
  const nats = await startNats()
  const settings: ServerSettings = { token: internalToken, nats: { url: nats.url, ...nats.login } }
  const server = fork(join(import.meta.dirname, 'server.ts'), [JSON.stringify(settings)], { stdio: 'inherit' })
  try {
    const [addresses] = (await once(server, 'message')) as [ServerAddresses]
    const rows: ProtocolRow[] = []
    for (const perSecond of rates)
      for (const [name, open] of Object.entries(callers(addresses, settings.nats))) {
        progress(`${name}, ${perSecond} a second`)
        const caller = await open()
        rows.push(await measure(name, caller, server, perSecond, seconds))
        await caller.close()
      }
    return rows
  } finally {
    server.kill()
    await nats.stop()
  }
}
