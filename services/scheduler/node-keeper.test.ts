import { pino } from 'pino'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { createMetrics } from '../chassis/http-server.ts'
import type { Cordon, InstanceChange, NodeReport } from '../contracts/node.ts'
import { Fleet } from './fleet.ts'
import { createSchedulerMetrics } from './metrics.ts'
import { NodeKeeper } from './node-keeper.ts'
import { mostFailures } from './start-health.ts'

const revision = { tenant: 't', name: 'f', version: '1', revisionId: 'r' }
const policy = { concurrency: 1, reuse: true }

let fleet: Fleet
let keeper: NodeKeeper
let leads: boolean
let told: { url: string; cordon: Cordon | undefined }[]
let lastId: number
let seq: number

const report = (nodeId: string, over: Partial<NodeReport> = {}): void => {
  const told: NodeReport = {
    nodeId,
    epoch: 'e',
    seq: seq++,
    full: true,
    url: `http://${nodeId}`,
    accepting: true,
    capacity: { memoryMiB: 1024, instances: 8, cpus: 2 },
    instances: [],
    endedInvocations: [],
    ...over,
  }
  fleet.apply(told, 0)
  keeper.heard(told)
}

/** A start that ended so. */
const start = (nodeId: string, end: Omit<InstanceChange, 'instanceId' | 'inFlight'>): void => {
  const instanceId = `i${lastId++}`
  const instance = { instanceId, revision, memoryMiB: 128, policy, state: 'starting', inFlight: 0 } as const
  report(nodeId, { full: false, instances: [instance] })
  report(nodeId, { full: false, changed: [{ instanceId, inFlight: 0, ...end }] })
}
const fail = (nodeId: string, times = 1, reason = 'sandbox-failed'): void => {
  for (let time = 0; time < times; time++) start(nodeId, { state: 'ended', reason })
}

beforeEach(() => {
  fleet = new Fleet()
  leads = true
  told = []
  lastId = 0
  seq = 1
  keeper = new NodeKeeper({
    fleet,
    nodes: { cordon: async (url, cordon) => void told.push({ url, cordon }), end: async () => undefined },
    metrics: createSchedulerMetrics(createMetrics(), fleet),
    logger: pino({ level: 'silent' }),
    leads: () => leads,
    term: () => 1,
  })
  report('a')
  report('b')
})

describe('a node that starts no sandboxes', () => {
  it('is cordoned, with the reason, after some failures in a row', async () => {
    fail('a', mostFailures - 1)
    expect(told).toEqual([])
    fail('a')
    await vi.waitFor(() => expect(told).toHaveLength(1))
    expect(told[0]).toMatchObject({
      url: 'http://a',
      cordon: { by: 'platform', reason: '5 starts of sandboxes failed in a row' },
    })
  })

  it('is not, when it was lost in between: what it was is forgotten', () => {
    fail('a', mostFailures - 1)
    fleet.removeNode('a')
    report('a')
    fail('a', mostFailures - 1)
    expect(told).toEqual([])
  })

  it('is not, when one of them comes to something in between', () => {
    fail('a', mostFailures - 1)
    start('a', { state: 'idle', idleSince: 1 })
    fail('a', mostFailures - 1)
    expect(told).toEqual([])
  })

  it('is not, when one of them comes to something between two reports', () => {
    const instance = { revision, memoryMiB: 128, policy, state: 'busy', inFlight: 1 } as const
    for (const full of [false, true]) {
      fail('a', mostFailures - 1)
      report('a', { full, instances: [{ ...instance, instanceId: `quick-${full}` }] })
    }
    fail('a', mostFailures - 1)
    expect(told).toEqual([])
  })

  it('is not helped by an instance that was there before', async () => {
    const instance = { instanceId: 'old', revision, memoryMiB: 128, policy, state: 'idle', inFlight: 0 } as const
    report('a', { epoch: 'next', instances: [instance] })
    for (let time = 0; time < mostFailures; time++) {
      const instanceId = `f${time}`
      const failed = { ...instance, instanceId, state: 'ended', reason: 'sandbox-failed' } as const
      report('a', { epoch: 'next', full: false, instances: [failed] })
      report('a', { epoch: 'next', full: time % 2 === 0, instances: [instance] })
    }
    await vi.waitFor(() => expect(told).toHaveLength(1))
  })

  it('is not cordoned for what functions do wrong', () => {
    fail('a', 20, 'start-failed')
    fail('a', 20, 'out-of-memory')
    fail('a', 20, 'surplus')
    expect(told).toEqual([])
  })

  it('is told once, by the scheduler that leads', async () => {
    leads = false
    fail('a', mostFailures)
    expect(told).toEqual([])
    leads = true
    fail('a', 3)
    await vi.waitFor(() => expect(told).toHaveLength(1))
    report('a', { cordon: { by: 'platform', reason: 'x', since: 1 } })
    fail('a', 3)
    expect(told).toHaveLength(1)
  })

  it('stays where it is the last of its pool that takes starts, and that is said', async () => {
    report('b', { pool: 'other' })
    fail('a', mostFailures + 1)
    expect(told).toEqual([])
    expect(fleet.node('a')?.unfit).toBe('6 starts of sandboxes failed in a row')
    // Somebody else may take them now.
    report('b', { pool: 'default' })
    fail('a')
    await vi.waitFor(() => expect(told).toHaveLength(1))
  })
})

it('a node that is uncordoned begins anew', async () => {
  fail('a', mostFailures)
  await vi.waitFor(() => expect(told).toHaveLength(1))
  await keeper.uncordon('a')
  expect(told[1]).toEqual({ url: 'http://a', cordon: undefined })
  fail('a', mostFailures - 1)
  expect(told).toHaveLength(2)
})
