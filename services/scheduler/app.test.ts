import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMetrics } from '../chassis/http-server.ts'
import type { InstanceReport, NodeReport, StartInstance } from '../contracts/node.ts'
import type { Placement, PlacementRequest } from '../contracts/placement.ts'
import { buildApp } from './app.ts'
import { Dispatcher } from './dispatcher.ts'
import { Fleet } from './fleet.ts'
import { createSchedulerMetrics } from './metrics.ts'
import { createNodeClient, type NodeClient } from './node-client.ts'

const token = 'a'.repeat(32)
const authorization = `Bearer ${token}`

/** A node that takes commands over real HTTP and remembers them. */
interface StubNode {
  readonly server: Server
  readonly url: string
  readonly commands: { method: string; path: string; authorization: string; body?: StartInstance }[]
  /** Status and body of the next answers; 202 when empty. */
  readonly refusals: { status: number; body: unknown }[]
  /** Resolves with the nth command, counted from 1. */
  command(n: number): Promise<StubNode['commands'][number]>
}

const startStub = async (): Promise<StubNode> => {
  const commands: StubNode['commands'] = []
  const refusals: StubNode['refusals'] = []
  const waiting: (() => void)[] = []
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const body = request.method === 'POST' ? ((await json(request)) as StartInstance) : undefined
    const { method = '', url: path = '', headers } = request
    commands.push({ method, path, authorization: headers.authorization ?? '', ...(body ? { body } : {}) })
    for (const wake of waiting.splice(0)) wake()
    const refusal = refusals.shift()
    response.writeHead(refusal?.status ?? 202, { 'content-type': 'application/json' })
    response.end(refusal ? JSON.stringify(refusal.body) : '')
  }
  const server = createServer((request, response) => {
    void handle(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const command = async (n: number) => {
    for (;;) {
      const found = commands[n - 1]
      if (found) return found
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
  }
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, commands, refusals, command }
}

const revision = { tenant: 't', name: 'f', version: '$LATEST', revisionId: 'r1' }
const policy = { concurrency: 1, reuse: true, keepAliveMs: 60_000 }

const asked = (invocationId: string, over: Partial<PlacementRequest> = {}): PlacementRequest => ({
  invocationId,
  revision,
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy,
  startWish: 'auto',
  deadlineAt: Date.now() + 30_000,
  excludeNodes: [],
  ...over,
})

const idle = (instanceId: string, over: Partial<InstanceReport> = {}): InstanceReport => ({
  instanceId,
  revision,
  memoryMiB: 128,
  policy,
  state: 'idle',
  inFlight: 0,
  idleSince: Date.now(),
  ...over,
})

let stub: StubNode
let nodes: NodeClient
let fleet: Fleet
let dispatcher: Dispatcher
let app: FastifyInstance
let seq: number

const report = (instances: InstanceReport[], over: Partial<NodeReport> = {}): boolean =>
  dispatcher.report({
    nodeId: 'a',
    epoch: 'e1',
    seq: seq++,
    full: true,
    url: stub.url,
    accepting: true,
    capacity: { memoryMiB: 256, instances: 8, cpus: 2 },
    instances,
    endedInvocations: [],
    ...over,
  })

const build = (firstNodeWaitMs: number): void => {
  const registry = createMetrics()
  const logger = pino({ level: 'silent' })
  fleet = new Fleet()
  nodes = createNodeClient(token)
  const metrics = createSchedulerMetrics(registry, fleet)
  dispatcher = new Dispatcher({ fleet, nodes, metrics, logger, firstNodeWaitMs })
  app = buildApp({ logger, registry, internalToken: token, fleet, dispatcher, metrics, notReady: () => undefined })
}

const ask = async (request: PlacementRequest) =>
  app.inject({ method: 'POST', url: '/v1/placements', headers: { authorization }, payload: request })

beforeEach(async () => {
  seq = 1
  stub = await startStub()
  build(10_000)
})

afterEach(async () => {
  dispatcher.close()
  await app.close()
  await nodes.close()
  stub.server.closeAllConnections()
  stub.server.close()
})

describe('POST /v1/placements', () => {
  it('answers with a start and sends the node the command', async () => {
    report([])
    const reply = await ask(asked('i1'))
    expect(reply.statusCode).toBe(200)
    expect(reply.json<Placement>()).toMatchObject({ nodeId: 'a', nodeUrl: stub.url, decision: 'start' })
    const { method, path, body, ...rest } = await stub.command(1)
    expect({ method, path, ...rest }).toEqual({ method: 'POST', path: '/v1/instances', authorization })
    expect(body).toMatchObject({ revision, memoryMiB: 128, policy, startWish: 'auto' })
  })

  it('lends an idle instance without telling the node anything', async () => {
    report([idle('x')])
    expect((await ask(asked('i1'))).json<Placement>().decision).toBe('idle')
    expect(stub.commands).toEqual([])
  })

  it('lends the slot again after the lease was given back', async () => {
    report([idle('x')])
    await ask(asked('i1'))
    const back = await app.inject({ method: 'DELETE', url: '/v1/placements/i1', headers: { authorization } })
    expect(back.statusCode).toBe(204)
    expect((await ask(asked('i2'))).json<Placement>().decision).toBe('idle')
  })

  it('starts nothing for a caller whose request before has its answer, though the node did not report that yet', async () => {
    report([idle('x')])
    await ask(asked('i1'))
    report([idle('x', { state: 'busy', inFlight: 1 })])
    expect((await ask(asked('i2', { ended: ['i1', 'unknown'] }))).json<Placement>().decision).toBe('shared')
    expect((await ask(asked('i3'))).json<Placement>().decision).toBe('start')
  })

  it('refuses with NO_CAPACITY when nothing fits', async () => {
    report([])
    const reply = await ask(asked('i1', { memoryMiB: 1024 }))
    expect(reply.statusCode).toBe(503)
    expect(reply.json()).toMatchObject({ code: 'NO_CAPACITY' })
  })

  it('waits for the first node instead of failing', async () => {
    const reply = ask(asked('i1'))
    await app.ready()
    report([idle('x')])
    expect((await reply).json<Placement>().decision).toBe('idle')
  })

  it('fails at the deadline when no node comes', async () => {
    const reply = await ask(asked('i1', { deadlineAt: Date.now() + 500 }))
    expect(reply.json()).toMatchObject({ code: 'NO_CAPACITY' })
  })

  it('starts nothing for a request whose deadline has passed', async () => {
    report([])
    expect((await ask(asked('i1', { deadlineAt: Date.now() - 1 }))).json()).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    expect(fleet.node('a')?.instances.size).toBe(0)
  })

  it('lends nothing to a caller that hung up while it waited for a node', async () => {
    const closed = Promise.withResolvers<void>()
    app.addHook('onRequest', async (_request, reply) => void reply.raw.once('close', () => closed.resolve()))
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    const caller = new AbortController()
    const arrived = Promise.withResolvers<void>()
    app.server.once('request', () => arrived.resolve())
    const headers = { authorization, 'content-type': 'application/json' }
    const body = JSON.stringify(asked('i1'))
    const reply = fetch(`${url}/v1/placements`, { method: 'POST', headers, body, signal: caller.signal })
    await arrived.promise
    caller.abort()
    await expect(reply).rejects.toThrow('aborted')
    await closed.promise
    report([idle('x')])
    await app.close()
    expect(fleet.leaseCount).toBe(0)
  })

  it('gives the booked memory back when the node refuses the start', async () => {
    report([])
    stub.refusals.push({ status: 503, body: { code: 'NO_CAPACITY', message: 'draining' } })
    await ask(asked('i1'))
    await stub.command(1)
    await expect.poll(() => fleet.node('a')?.usedMemoryMiB).toBe(0)
  })

  it('binds the instance of a forced start to its invocation', async () => {
    report([idle('x')])
    const reply = await ask(asked('i1', { startWish: 'boot' }))
    expect(reply.json<Placement>().decision).toBe('start')
    expect(await stub.command(1)).toMatchObject({ method: 'POST', body: { startWish: 'boot', forInvocation: 'i1' } })
  })

  it('ends idle instances of another function to make room, then starts', async () => {
    const other = { ...revision, name: 'g' }
    report([idle('x', { revision: other, idleSince: Date.now() - 1000 }), idle('y', { revision: other })])
    await ask(asked('i1'))
    expect(await stub.command(1)).toMatchObject({ method: 'DELETE', path: '/v1/instances/x?reason=reclaim' })
    expect(await stub.command(2)).toMatchObject({ method: 'POST' })
  })

  it('ends idle instances of the revision that the new one replaces', async () => {
    report([idle('old', { revision: { ...revision, revisionId: 'r0' } })])
    await ask(asked('i1'))
    await stub.command(2)
    expect(stub.commands.map(({ path }) => path)).toContain('/v1/instances/old?reason=old-revision')
  })

  it.each([
    ['an unknown field', { ...asked('i1'), extra: 1 }],
    ['a number as text', { ...asked('i1'), memoryMiB: '128' }],
    ['an unknown start wish', { ...asked('i1'), startWish: 'fast' }],
  ])('refuses %s', async (_what, payload) => {
    const reply = await app.inject({ method: 'POST', url: '/v1/placements', headers: { authorization }, payload })
    expect(reply.json()).toMatchObject({ code: 'INVALID_REQUEST' })
  })

  it('refuses a caller without the token', async () => {
    expect((await app.inject({ method: 'POST', url: '/v1/placements', payload: asked('i1') })).statusCode).toBe(403)
  })
})

describe('idle instances', () => {
  it('end at once, when a report shows them past their keep-alive', async () => {
    report([idle('x', { policy: { ...policy, keepAliveMs: 0 } })])
    expect(await stub.command(1)).toMatchObject({ method: 'DELETE', path: '/v1/instances/x?reason=keep-alive' })
    expect(fleet.node('a')?.instances.size).toBe(0)
  })
})

describe('nodes', () => {
  it('are listed with their instances, and get nothing new while cordoned', async () => {
    report([idle('x')])
    const cordon = await app.inject({ method: 'POST', url: '/v1/nodes/a/cordon', headers: { authorization } })
    expect(cordon.statusCode).toBe(204)
    const list = await app.inject({ method: 'GET', url: '/v1/nodes', headers: { authorization } })
    expect(list.json()).toMatchObject({
      nodes: [{ nodeId: 'a', cordoned: true, usedMemoryMiB: 128, instances: [{ instanceId: 'x', state: 'idle' }] }],
    })
    expect((await ask(asked('i1', { deadlineAt: Date.now() + 500 }))).json()).toMatchObject({ code: 'NO_CAPACITY' })
  })

  it('that nobody knows cannot be cordoned', async () => {
    const reply = await app.inject({ method: 'POST', url: '/v1/nodes/zzz/cordon', headers: { authorization } })
    expect(reply.json()).toMatchObject({ code: 'NOT_FOUND' })
  })
})

describe('/metrics', () => {
  it('counts placements by decision and instances by state', async () => {
    report([idle('x')])
    await ask(asked('i1'))
    const { body } = await app.inject({ url: '/metrics' })
    expect(body).toContain('forkyard_scheduler_placements_total{decision="idle"} 1')
    expect(body).toContain('forkyard_scheduler_instances{state="idle"} 1')
    expect(body).toContain('forkyard_scheduler_placement_seconds_count 1')
  })
})
