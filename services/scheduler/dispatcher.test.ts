import { pino } from 'pino'
import { beforeEach, describe, expect, it } from 'vitest'
import { createMetrics } from '../chassis/http-server.ts'
import type { InstanceReport, NodeReport, StartInstance } from '../contracts/node.ts'
import type { Placement, PlacementRequest } from '../contracts/placement.ts'
import { Dispatcher } from './dispatcher.ts'
import { Fleet } from './fleet.ts'
import { createSchedulerMetrics } from './metrics.ts'

const policy = { concurrency: 1, reuse: true, keepAliveMs: 60_000 }
const revisionOf = (tenant: string, name = 'f') => ({ tenant, name, version: '1', revisionId: 'r' })

let now: number
let seq: number
let fleet: Fleet
let dispatcher: Dispatcher
/** Start commands that the nodes have not answered yet. */
let unanswered: { command: StartInstance; answer: () => void }[]
let forgotten: string[]

const asked = (tenant: string, id: string, name = 'f'): PlacementRequest => ({
  invocationId: id,
  revision: revisionOf(tenant, name),
  runtime: 'nodejs24.x',
  memoryMiB: 1,
  policy,
  startWish: 'auto',
  deadlineAt: now + 1_000,
  excludeNodes: [],
})

const report = (over: Partial<NodeReport> = {}) =>
  dispatcher.report({
    nodeId: 'a',
    epoch: 'e',
    seq: seq++,
    full: false,
    url: 'http://a',
    accepting: true,
    capacity: { memoryMiB: 10_000, instances: 10_000, cpus: 2 },
    instances: [],
    endedInvocations: [],
    ...over,
  })

const idle = (instanceId: string, tenant: string): InstanceReport => ({
  instanceId,
  revision: revisionOf(tenant),
  memoryMiB: 1,
  policy,
  state: 'idle',
  inFlight: 0,
  idleSince: now,
})

beforeEach(() => {
  now = 1_000_000
  seq = 0
  unanswered = []
  forgotten = []
  fleet = new Fleet()
  const nodes = {
    start: (_url: string, command: StartInstance) =>
      new Promise<void>((resolve) => void unanswered.push({ command, answer: resolve })),
    end: async () => undefined,
    cordon: async () => undefined,
    forget: (url: string) => void forgotten.push(url),
    close: async () => undefined,
  }
  dispatcher = new Dispatcher({
    fleet,
    nodes,
    metrics: createSchedulerMetrics(createMetrics(), fleet),
    logger: pino({ level: 'silent' }),
    firstNodeWaitMs: 5_000,
    waiting: { all: 100, perFunction: 50 },
    now: () => now,
  })
})

it('the link to a node is given up when its agent is at another address, or silent', () => {
  report({ full: true })
  report({ url: 'http://a' })
  expect(forgotten).toEqual([])
  report({ full: true, epoch: 'f', url: 'http://b' })
  expect(forgotten).toEqual(['http://a'])
  now += 10_000
  dispatcher.tick(5_000)
  expect(forgotten).toEqual(['http://a', 'http://b'])
})

/** Places until something has to wait. @returns the first that does */
const untilBehind = (): Promise<Placement> => {
  for (let n = 0; ; n++) {
    const placement = dispatcher.place(asked('busy', `busy-${n}`))
    if (placement instanceof Promise) return placement
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('when starts are behind', () => {
  it('a placement waits for a start to be answered, and then starts', async () => {
    report({ full: true })
    const waiting = untilBehind()
    const behind = unanswered.length
    expect(behind).toBeGreaterThan(10)
    await settled()
    expect(unanswered).toHaveLength(behind)
    unanswered[0]?.answer()
    expect((await waiting).decision).toBe('start')
    expect(unanswered).toHaveLength(behind + 1)
  })

  it('a placement takes the first slot of its revision that is free, without a start', async () => {
    report({ full: true, instances: [{ ...idle('x', 'other'), state: 'busy', inFlight: 1 }] })
    void untilBehind()
    const started = unanswered.length
    const waiting = dispatcher.place(asked('other', 'i1'))
    expect(waiting).toBeInstanceOf(Promise)
    report({ changed: [{ instanceId: 'x', state: 'idle', inFlight: 0, idleSince: now }] })
    expect(await waiting).toMatchObject({ decision: 'idle', nodeId: 'a' })
    expect(unanswered).toHaveLength(started)
  })

  it('an idle instance is lent at once, whoever waits', () => {
    report({ full: true, instances: [idle('x', 'other')] })
    void untilBehind()
    expect(dispatcher.place(asked('other', 'i1'))).toMatchObject({ decision: 'idle' })
  })

  it("a tenant's burst does not keep another tenant waiting", async () => {
    report({ full: true })
    void untilBehind()
    for (let n = 0; n < 20; n++) void dispatcher.place(asked('busy', `more-${n}`))
    const other = dispatcher.place(asked('other', 'i1'))
    for (const { answer } of unanswered.slice(0, 2)) answer()
    await settled()
    expect(await Promise.race([other, Promise.resolve('waits')])).toMatchObject({ decision: 'start' })
  })

  it('more than may wait are refused at once', () => {
    report({ full: true })
    void untilBehind()
    expect(() => {
      for (let n = 0; n < 60; n++) void dispatcher.place(asked('busy', `more-${n}`))
    }).toThrow(/perFunction/)
  })

  it('a placement that waits in vain is told so at its deadline, and takes nothing afterwards', async () => {
    report({ full: true })
    const waiting = untilBehind()
    const refused = expect(waiting).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    now += 1_000
    dispatcher.tick(60_000)
    await refused
    const leases = fleet.leaseCount
    for (const { answer } of unanswered) answer()
    await settled()
    expect(fleet.leaseCount).toBe(leases)
  })
})
