import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { PlatformError, type ErrorCode } from '../../contracts/errors.ts'
import { newRecord } from '../function-record.ts'
import type { NodeClient, NodeRequest } from '../node-client.ts'
import { NodeUnreachable } from '../node-watch.ts'
import type { SchedulerClient } from '../scheduler-client.ts'
import type { PlacementRequest } from '../../contracts/placement.ts'
import { createTickets } from '../calls/tickets.ts'
import { createInvoker, type Invocation } from './invoker.ts'

const settings = {
  runtime: 'nodejs24.x',
  handler: 'h.h',
  description: '',
  role: 'r',
  memoryMiB: 128,
  timeoutMs: 3000,
  ephemeralStorageMiB: 512,
  environment: {},
} as const
const record = newRecord(
  'default',
  'f',
  1,
  settings,
  { codeSha256: '', codeSize: 1, zipDigest: '', imageDigest: '' },
  {},
)

const { latest } = record
const tickets = createTickets([{ id: 'one', seed: 'a'.repeat(64) }])
const registry = { get: () => record }

let placed: PlacementRequest[]
/** Invocations whose slot was given back. */
let over: string[]
/** No scheduler leads. */
let leaderless: boolean
let sent: { url: string; request: NodeRequest }[]
/** What the nodes answer, in turn; the last one for good. */
let answers: (Error | 'ok')[]

const scheduler = {
  place: async (request: PlacementRequest, _signal: AbortSignal, mayGoDirect: boolean) => {
    placed.push(request)
    const directly = leaderless && mayGoDirect ? { direct: true } : {}
    const nodeId = `n${request.excludeNodes.length}`
    return {
      invocationId: request.invocationId,
      nodeId,
      nodeUrl: `http://${nodeId}`,
      decision: 'start',
      reason: '',
      ...directly,
    }
  },
  over: (id: string) => void over.push(id),
} as unknown as SchedulerClient
const nodes = {
  invoke: async (url: string, request: NodeRequest) => {
    sent.push({ url, request })
    const answer = answers.length > 1 ? answers.shift() : answers[0]
    if (answer instanceof Error) throw answer
    return { body: Readable.from([Buffer.from('answer')]) }
  },
} as unknown as NodeClient

beforeEach(() => {
  placed = []
  over = []
  leaderless = false
  sent = []
  answers = ['ok']
  vi.useFakeTimers({ toFake: ['Date'] })
  return () => vi.useRealTimers()
})

const invoke = (more: Partial<Invocation> = {}) =>
  createInvoker({ scheduler, nodes, registry, region: 'eu-test-1', startBudgetMs: 20_000, tickets }).invoke({
    invocationId: 'id',
    attempt: 1,
    resolve: () => latest,
    qualifier: 'live',
    kind: 'event',
    responseMode: 'buffered',
    body: Buffer.from('{}'),
    startWish: 'auto',
    signal: new AbortController().signal,
    ...more,
  })
const error = (code: ErrorCode) => new PlatformError(code, code)

describe('an invocation', () => {
  it('has one deadline on all hops, and says whose it is', async () => {
    await invoke({ attempt: 2, startWish: 'boot', traceparent: 't', clientContext: 'c' })
    const deadlineAt = Date.now() + 23_000
    expect(placed).toEqual([
      expect.objectContaining({ deadlineAt, startWish: 'boot', excludeNodes: [], memoryMiB: 128 }),
    ])
    expect(sent[0]?.request.headers).toMatchObject({
      'forkyard-deadline-at': String(deadlineAt),
      'forkyard-timeout-ms': '3000',
      'forkyard-attempt': '2',
      'forkyard-function-arn': 'arn:aws:lambda:eu-test-1:000000000000:function:f:live',
      'forkyard-revision': JSON.stringify({
        tenant: 'default',
        name: 'f',
        version: '$LATEST',
        revisionId: latest.revisionId,
      }),
      'forkyard-client-context': 'c',
      traceparent: 't',
    })
    expect(over).toEqual([])
  })

  it('is told as ended when its answer was read to its end, and not before', async () => {
    const { reply } = await invoke()
    expect(over).toEqual([])
    await text(reply.body)
    expect(over).toEqual(['id'])
  })

  it.each<ErrorCode>(['NO_INSTANCE', 'TOO_MANY_REQUESTS', 'STORAGE_FULL', 'NO_CAPACITY'])(
    'that a node refused with %s goes to another one',
    async (code) => {
      answers = [error(code), 'ok']
      await invoke()
      expect(sent.map(({ url }) => url)).toEqual(['http://n0', 'http://n1'])
      expect(placed[1]?.excludeNodes).toEqual(['n0'])
    },
  )

  it('is refused after three refusals, with what is meant for the caller', async () => {
    answers = [error('NO_INSTANCE')]
    await expect(invoke()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(sent).toHaveLength(3)
    expect(over).toEqual(['id'])
    answers = [error('TOO_MANY_REQUESTS')]
    await expect(invoke()).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' })
  })

  it('waits for a node that is away, as in its restart', async () => {
    answers = [...Array.from({ length: 5 }, () => new NodeUnreachable('away')), 'ok']
    await invoke()
    expect(sent).toHaveLength(6)
  })

  it('gives up on nodes that stay away', async () => {
    answers = [new NodeUnreachable('away')]
    const refused = expect(invoke()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await vi.waitFor(() => expect(sent.length).toBeGreaterThan(1))
    vi.setSystemTime(Date.now() + 11_000)
    await refused
    expect(over).toEqual(['id'])
  })

  it.each<ErrorCode>(['INSTANCE_LOST', 'START_FAILED', 'DEADLINE_EXCEEDED', 'INTERNAL'])(
    'that may have run is never sent again: %s',
    async (code) => {
      answers = [error(code), 'ok']
      await expect(invoke()).rejects.toMatchObject({ code })
      expect(sent).toHaveLength(1)
    },
  )

  it('of which the node may still be running keeps its lease; others give it back', async () => {
    answers = [error('INSTANCE_LOST')]
    await expect(invoke()).rejects.toThrow()
    expect(over).toEqual([])
    answers = [error('INVALID_REQUEST')]
    await expect(invoke()).rejects.toThrow()
    expect(over).toEqual(['id'])
  })

  it('asks for its version again with each placement: a deploy may have come between', async () => {
    answers = [error('NO_INSTANCE'), 'ok']
    const revisions = ['r1', 'r2', 'r3']
    await invoke({ resolve: () => ({ ...latest, revisionId: revisions.shift() ?? '' }) })
    expect(placed.map(({ revision }) => revision.revisionId)).toEqual(['r2', 'r3'])
  })

  it('whose caller went away is not sent again, and gives its lease back', async () => {
    const gone = new AbortController()
    answers = [new NodeUnreachable('away')]
    const refused = expect(invoke({ signal: gone.signal })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await vi.waitFor(() => expect(sent.length).toBeGreaterThan(0))
    gone.abort()
    await refused
    expect(over).toEqual(['id'])
  })

  it('without a scheduler is for an idle instance alone, and gives no lease back', async () => {
    leaderless = true
    answers = [error('INTERNAL')]
    await expect(invoke()).rejects.toThrow('INTERNAL')
    expect(sent[0]?.request.headers['forkyard-if-idle']).toBe('1')
    expect(over).toEqual([])
  })

  it('that finds no idle instance without a scheduler waits for one, and keeps no node out for that', async () => {
    leaderless = true
    answers = [error('NO_INSTANCE'), 'ok']
    await invoke()
    expect(sent.map(({ request }) => request.headers['forkyard-if-idle'])).toEqual(['1', undefined])
    expect(placed[1]?.excludeNodes).toEqual([])
  })
})
