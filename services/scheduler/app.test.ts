import fastify, { type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMetrics } from '../chassis/http-server.ts'
import { acceptLinks } from '../chassis/link/accept.ts'
import { LinkClient, type LinkClientOptions } from '../chassis/link/client.ts'
import { PlatformError } from '../contracts/errors.ts'
import { instanceLink, placementLink } from '../contracts/links.ts'
import type { Cordon, InstanceReport, NodeReport, StartInstance } from '../contracts/node.ts'
import type { PlacementRequest } from '../contracts/placement.ts'
import { PlacementLink } from '../gateway/placement-link.ts'
import { buildApp } from './app.ts'
import { ClaimBook } from './claim-book.ts'
import { Dispatcher } from './dispatcher.ts'
import { Fleet } from './fleet.ts'
import { createSchedulerMetrics } from './metrics.ts'
import { createNodeClient, type NodeClient } from './node-client.ts'
import { NodeKeeper } from './node-keeper.ts'

const token = 'a'.repeat(32)
const authorization = `Bearer ${token}`
const loopback = { host: '127.0.0.1', port: 0 }

type Command = { start: StartInstance } | { end: string; reason: string } | { cordon: Cordon | null }

/** A node that takes commands over a real link and remembers them. */
interface StubNode {
  readonly app: FastifyInstance
  readonly url: string
  readonly commands: Command[]
  /** Answers to the next commands; done when empty. */
  readonly refusals: PlatformError[]
  /** Resolves with the nth command, counted from 1. */
  command(n: number): Promise<Command>
}

const startStub = async (): Promise<StubNode> => {
  const commands: Command[] = []
  const refusals: PlatformError[] = []
  const waiting: (() => void)[] = []
  const node = fastify()
  acceptLinks(node, {
    path: instanceLink,
    token,
    open: () => ({
      handle: ([kind, , term, first, second]) => {
        if (kind === 'start') commands.push({ start: first as StartInstance })
        else if (kind === 'end') commands.push({ end: String(first), reason: String(second) })
        else commands.push({ cordon: term as Cordon | null })
        for (const wake of waiting.splice(0)) wake()
        const refusal = refusals.shift()
        if (refusal) throw refusal
        return []
      },
    }),
  })
  const url = await node.listen(loopback)
  const command = async (n: number) => {
    for (;;) {
      const found = commands[n - 1]
      if (found) return found
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
  }
  return { app: node, url, commands, refusals, command }
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
let url: string
let gateway: PlacementLink
let seq: number
let ticking: NodeJS.Timeout

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

const build = async (firstNodeWaitMs: number): Promise<void> => {
  const registry = createMetrics()
  const logger = pino({ level: 'silent' })
  fleet = new Fleet()
  nodes = createNodeClient(() => ({ token, ca: undefined }))
  const metrics = createSchedulerMetrics(registry, fleet)
  dispatcher = new Dispatcher({ fleet, nodes, metrics, logger, firstNodeWaitMs })
  const keeper = new NodeKeeper({ fleet, nodes, metrics, logger, leads: () => true, term: () => 0 })
  app = buildApp({
    logger,
    registry,
    internalToken: token,
    fleet,
    dispatcher,
    keeper,
    claims: new ClaimBook((claim) => fleet.claim(claim)),
    metrics,
    heardOf: () => undefined,
    notReady: () => undefined,
  })
  url = await app.listen(loopback)
  gateway = new PlacementLink(url, token)
}

const ask = (request: PlacementRequest, signal = new AbortController().signal) => gateway.place(request, signal)
/** What the scheduler has is taken in order: the answer to this comes after everything before was. */
const settled = () => ask(asked('settle', { deadlineAt: 1 })).catch(() => undefined)

beforeEach(async () => {
  seq = 1
  stub = await startStub()
  await build(10_000)
  ticking = setInterval(() => dispatcher.tick(60_000), 20)
})

afterEach(async () => {
  clearInterval(ticking)
  dispatcher.close()
  gateway.close()
  await app.close()
  await nodes.close()
  await stub.app.close()
})

describe('a placement', () => {
  it('answers with a start and sends the node the command', async () => {
    report([])
    expect(await ask(asked('i1'))).toMatchObject({ nodeId: 'a', nodeUrl: stub.url, decision: 'start' })
    expect(await stub.command(1)).toMatchObject({ start: { revision, memoryMiB: 128, policy, startWish: 'auto' } })
  })

  it('lends an idle instance without telling the node anything', async () => {
    report([idle('x')])
    expect((await ask(asked('i1'))).decision).toBe('idle')
    expect(stub.commands).toEqual([])
  })

  it('lends the slot again after the lease was given back', async () => {
    report([idle('x')])
    await ask(asked('i1'))
    gateway.over('i1')
    expect((await ask(asked('i2'))).decision).toBe('idle')
  })

  it('starts nothing for a caller whose request before has its answer, though the node did not report that yet', async () => {
    report([idle('x')])
    await ask(asked('i1'))
    report([idle('x', { state: 'busy', inFlight: 1 })])
    gateway.over('i1')
    gateway.over('unknown')
    expect((await ask(asked('i2'))).decision).toBe('idle')
    expect((await ask(asked('i3'))).decision).toBe('start')
  })

  it('refuses with NO_CAPACITY when nothing fits', async () => {
    report([])
    await expect(ask(asked('i1', { memoryMiB: 1024 }))).rejects.toMatchObject({ code: 'NO_CAPACITY' })
  })

  it('waits for the first node instead of failing', async () => {
    const reply = ask(asked('i1'))
    await settled()
    report([idle('x')])
    expect((await reply).decision).toBe('idle')
  })

  it('fails at the deadline when no node comes', async () => {
    await expect(ask(asked('i1', { deadlineAt: Date.now() + 500 }))).rejects.toMatchObject({ code: 'NO_CAPACITY' })
  })

  it('starts nothing for a request whose deadline has passed', async () => {
    report([])
    await expect(ask(asked('i1', { deadlineAt: Date.now() - 1 }))).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    expect(fleet.node('a')?.instances.size).toBe(0)
  })

  it('lends nothing to a caller that hung up while it waited for a node', async () => {
    const caller = new AbortController()
    const reply = ask(asked('i1'), caller.signal)
    await settled()
    caller.abort()
    await expect(reply).rejects.toThrow('aborted')
    await settled()
    report([idle('x')])
    await settled()
    expect(fleet.leaseCount).toBe(0)
  })

  it('lends nothing to a gateway whose connection broke while it waited', async () => {
    const broken = expect(ask(asked('i1'))).rejects.toThrow('the connection broke')
    await settled()
    gateway.close()
    await broken
    report([idle('x')])
    gateway = new PlacementLink(url, token)
    await settled()
    expect(fleet.leaseCount).toBe(0)
  })

  it('gives the booked memory back when the node refuses the start', async () => {
    report([])
    stub.refusals.push(new PlatformError('NO_CAPACITY', 'draining'))
    await ask(asked('i1'))
    await stub.command(1)
    await expect.poll(() => fleet.node('a')?.usedMemoryMiB).toBe(0)
  })

  it('gives the booked memory back when the node cannot be reached', async () => {
    report([], { url: 'http://127.0.0.1:1' })
    await ask(asked('i1'))
    await expect.poll(() => fleet.node('a')?.usedMemoryMiB).toBe(0)
  })

  it('binds the instance of a forced start to its invocation', async () => {
    report([idle('x')])
    expect((await ask(asked('i1', { startWish: 'boot' }))).decision).toBe('start')
    expect(await stub.command(1)).toMatchObject({ start: { startWish: 'boot', forInvocation: 'i1' } })
  })

  it('ends idle instances of another function to make room, then starts', async () => {
    const other = { ...revision, name: 'g' }
    report([idle('x', { revision: other, idleSince: Date.now() - 1000 }), idle('y', { revision: other })])
    await ask(asked('i1'))
    expect(await stub.command(1)).toEqual({ end: 'x', reason: 'reclaim' })
    expect(await stub.command(2)).toMatchObject({ start: { revision } })
  })

  it('ends idle instances of the revision that the new one replaces', async () => {
    report([idle('old', { revision: { ...revision, revisionId: 'r0' } })])
    await ask(asked('i1'))
    await stub.command(2)
    expect(stub.commands).toContainEqual({ end: 'old', reason: 'old-revision' })
  })

  it('of each revision is told what that revision needs, however many there are', async () => {
    report([])
    const asks = ['r1', 'r2', 'r1', 'r3'].map((revisionId, index) =>
      ask(asked(`i${index}`, { revision: { ...revision, revisionId }, memoryMiB: 32 })),
    )
    await Promise.all(asks)
    await stub.command(4)
    const started = stub.commands.map((command) => ('start' in command ? command.start.revision.revisionId : ''))
    expect(started.toSorted()).toEqual(['r1', 'r1', 'r2', 'r3'])
  })
})

const client = (shown = token, over: Partial<LinkClientOptions> = {}) =>
  new LinkClient({
    url,
    path: placementLink,
    trust: () => ({ token: shown, ca: undefined }),
    service: 'scheduler',
    connectMs: 2_000,
    ...over,
  })

describe('what is reserved for a function', () => {
  it('is told again when it changes', async () => {
    report([idle('x'), idle('y')])
    expect((await ask(asked('i1', { reservedConcurrency: 2 }))).decision).toBe('idle')
    const throttled = { code: 'TOO_MANY_REQUESTS', details: { limit: 'reservedConcurrency', reservedConcurrency: 1 } }
    await expect(ask(asked('i2', { reservedConcurrency: 1 }))).rejects.toMatchObject(throttled)
    expect((await ask(asked('i3'))).decision).toBe('idle')
  })
})

describe('a link', () => {
  it.each([
    ['a message of an unknown kind', 'other', []],
    ['a number as text', 'place', ['0', 'i1', 'auto', 1, []]],
    ['an unknown start wish', 'place', [0, 'i1', 'fast', 1, []]],
    ['a revision that was not told', 'place', [7, 'i1', 'auto', 1, []]],
    ['an unknown field', 'revision', [0, { revision, runtime: 'nodejs24.x', memoryMiB: 128, policy, extra: 1 }]],
  ])('refuses %s', async (_what, kind, args) => {
    const link = client()
    await link.open()
    await expect(link.call(kind, args, {})).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    link.close()
  })

  it('is refused to a caller without the token', async () => {
    await expect(client('b'.repeat(32)).open()).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })
})

describe('idle instances', () => {
  it('end at once, when a report shows them past their keep-alive', async () => {
    report([idle('x', { policy: { ...policy, keepAliveMs: 0 } })])
    expect(await stub.command(1)).toEqual({ end: 'x', reason: 'keep-alive' })
    expect(fleet.node('a')?.instances.size).toBe(0)
  })

  it('that were kept for long end with the next command to their node, before it', async () => {
    report([idle('x', { idleSince: Date.now() - 120_000 })])
    await ask(asked('i1'))
    expect(await stub.command(2)).toMatchObject({ start: { revision } })
    expect(stub.commands[0]).toEqual({ end: 'x', reason: 'keep-alive' })
  })

  it('that were kept for long end without another command too', async () => {
    report([idle('x', { idleSince: Date.now() - 120_000 })])
    expect(await stub.command(1)).toEqual({ end: 'x', reason: 'keep-alive' })
  })
})

const tell = (path: string, payload: object = {}) =>
  app.inject({ method: 'POST', url: path, headers: { authorization }, payload })

describe('nodes', () => {
  it('are drained: nothing new, and everything there ends', async () => {
    report([idle('x')])
    expect((await tell('/v1/nodes/a/drain')).statusCode).toBe(204)
    expect(await stub.command(1)).toMatchObject({ cordon: { by: 'operator', reason: 'cordoned by hand' } })
    expect(await stub.command(2)).toEqual({ end: 'x', reason: 'drain' })
    await tell('/v1/nodes/a/uncordon')
    expect(await stub.command(3)).toEqual({ cordon: null })
  })

  it('are listed with their instances, and get nothing new while cordoned', async () => {
    report([idle('x')])
    expect((await tell('/v1/nodes/a/cordon', { reason: 'a new disk' })).statusCode).toBe(204)
    const told = (await stub.command(1)) as { cordon: Cordon }
    expect(told.cordon).toMatchObject({ by: 'operator', reason: 'a new disk' })
    report([idle('x')], told)
    const list = await app.inject({ method: 'GET', url: '/v1/nodes', headers: { authorization } })
    expect(list.json()).toMatchObject({
      nodes: [
        {
          nodeId: 'a',
          cordoned: true,
          cordon: { reason: 'a new disk' },
          usedMemoryMiB: 128,
          instances: [{ instanceId: 'x', state: 'idle' }],
        },
      ],
    })
    await expect(ask(asked('i1', { deadlineAt: Date.now() + 500 }))).rejects.toMatchObject({ code: 'NO_CAPACITY' })
  })

  it('that nobody knows cannot be cordoned', async () => {
    expect((await tell('/v1/nodes/zzz/cordon')).json()).toMatchObject({ code: 'NOT_FOUND' })
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
