import type { NatsConnection, Status } from '@nats-io/transport-node'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createMetrics } from '../chassis/http-server.ts'
import type { NodeReport } from '../contracts/node.ts'
import { subjects } from '../contracts/subjects.ts'
import { Dispatcher } from './dispatcher.ts'
import { Fleet } from './fleet.ts'
import { createSchedulerMetrics } from './metrics.ts'
import { nobodyJoined } from './testing/nobody-joined.ts'
import { listenToReports } from './report-listener.ts'

const report = (seq: number, full: boolean): NodeReport => ({
  nodeId: 'a',
  epoch: 'e',
  seq,
  full,
  url: 'http://a.test',
  accepting: true,
  capacity: { memoryMiB: 1024, instances: 8, cpus: 2 },
  instances: [],
  endedInvocations: [],
})

let asked: string[]
let deliver: (text: string) => void
let deliverFiles: (text: string) => void
let say: (type: Status['type']) => Promise<void>
let fleet: Fleet
let stop: () => void

beforeEach(() => {
  vi.useFakeTimers()
  asked = []
  const statuses: string[] = []
  let wake = Promise.withResolvers<void>()
  say = async (type) => {
    statuses.push(type)
    wake.resolve()
    await vi.advanceTimersByTimeAsync(0)
  }
  const connection = {
    isClosed: () => false,
    subscribe: (subject: string, { callback }: { callback: (error: null, message: unknown) => void }) => {
      const tell = (text: string) => {
        callback(null, { subject: subject.replace('*', 'a'), string: () => text })
        vi.advanceTimersByTime(0)
      }
      if (subject === subjects.allNodeReports) deliver = tell
      else deliverFiles = tell
      return { unsubscribe: () => undefined, closed: new Promise(() => undefined) }
    },
    publish: (subject: string) => {
      asked.push(subject)
    },
    async *status() {
      for (;;) {
        for (const type of statuses.splice(0)) yield { type }
        await wake.promise
        wake = Promise.withResolvers<void>()
      }
    },
  } as unknown as NatsConnection
  fleet = new Fleet()
  const logger = pino({ level: 'silent' })
  const metrics = createSchedulerMetrics(createMetrics(), fleet)
  const nodes = {
    start: async () => undefined,
    end: async () => undefined,
    cordon: async () => undefined,
    forget: () => undefined,
    close: async () => undefined,
  }
  const keeper = { heard: () => undefined }
  const dispatcher = new Dispatcher({ fleet, nodes, metrics, logger, firstNodeWaitMs: 0 })
  stop = listenToReports({
    connection,
    fleet,
    dispatcher,
    metrics,
    logger,
    nodeTimeoutMs: 5_000,
    keeper,
    joined: nobodyJoined,
  }).stop
})

afterEach(() => {
  stop()
  vi.useRealTimers()
})

describe('listenToReports', () => {
  it('asks for full reports at the start', () => {
    expect(asked).toEqual(['node.report-now'])
  })

  it('asks a node again after a gap, but once for a burst of them', () => {
    deliver(JSON.stringify(report(1, true)))
    vi.advanceTimersByTime(1_000)
    for (const seq of [3, 4, 5]) deliver(JSON.stringify(report(seq, false)))
    expect(asked).toEqual(['node.report-now', 'node.a.report-now'])
  })

  it('ignores what is no report', () => {
    for (const text of ['', '{', '[]', '{"nodeId":"a"}', JSON.stringify({ ...report(1, true), extra: 1 })])
      deliver(text)
    expect([...fleet.nodes()]).toEqual([])
  })

  it('takes what nodes tell of their files, and nothing that does not fit', () => {
    deliver(JSON.stringify(report(1, true)))
    const files = { nodeId: 'a', all: true, checkpoints: ['t/f/1/r'], code: [], gone: [] }
    for (const text of ['', '{}', JSON.stringify({ ...files, checkpoints: [1] })]) deliverFiles(text)
    const revision = { tenant: 't', name: 'f', version: '1', revisionId: 'r' }
    const holders = () => [...fleet.view.files.holders(revision)].map(([{ id }, held]) => [id, held])
    expect(holders()).toEqual([])
    deliverFiles(JSON.stringify(files))
    expect(holders()).toEqual([['a', 'checkpoint']])
  })

  it('gives a silent node up', () => {
    deliver(JSON.stringify(report(1, true)))
    vi.advanceTimersByTime(4_900)
    expect([...fleet.nodes()]).toHaveLength(1)
    vi.advanceTimersByTime(300)
    expect([...fleet.nodes()]).toEqual([])
  })

  it('keeps nodes while NATS is away, and counts their silence from its return', async () => {
    deliver(JSON.stringify(report(1, true)))
    await say('disconnect')
    vi.advanceTimersByTime(60_000)
    await say('reconnect')
    expect(asked).toEqual(['node.report-now', 'node.report-now'])
    vi.advanceTimersByTime(4_900)
    expect([...fleet.nodes()]).toHaveLength(1)
    vi.advanceTimersByTime(300)
    expect([...fleet.nodes()]).toEqual([])
  })
})
