import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { toldWithinMs, type InstanceReport, type NodeReport } from '../../contracts/node.ts'
import { Fleet } from '../../scheduler/fleet.ts'
import { Reporter } from './reporter.ts'
import { TermFence } from './term-fence.ts'

const revision = { tenant: 't', name: 'f', version: '1', revisionId: 'r' }
const policy = { concurrency: 1, reuse: true }
const instance = (instanceId: string, state: InstanceReport['state'], over: Partial<InstanceReport> = {}) => ({
  instanceId,
  revision,
  memoryMiB: 128,
  policy,
  state,
  inFlight: state === 'busy' ? 1 : 0,
  ...over,
})

let table: InstanceReport[]
let reports: NodeReport[]
let asked: Map<string, (error: null, message: { string: () => string }) => void>
let fence: TermFence
let reporter: Reporter

const changed = () =>
  reports.at(-1)?.changed?.map(({ instanceId, state, keepAliveMs }) => [instanceId, state, keepAliveMs])

beforeEach(() => {
  vi.useFakeTimers()
  // The clock's reports come in the middle of the time in which they may.
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  table = [instance('a', 'idle', { idleSince: 1, keepAliveMs: 500 })]
  reports = []
  asked = new Map()
  fence = new TermFence()
  reporter = new Reporter({
    connection: {
      publish: (_subject: string, text: string) => void reports.push(JSON.parse(text) as NodeReport),
      subscribe: (subject: string, { callback }: { callback: () => void }) => {
        asked.set(subject, callback)
        return { unsubscribe: () => asked.delete(subject) }
      },
      isClosed: () => false,
    } as never,
    nodeId: 'n',
    fence,
    url: () => 'http://n',
    accepting: () => true,
    cordon: () => undefined,
    capacity: { memoryMiB: 1024, instances: 8, cpus: 2 },
    pool: 'spare',
    labels: { zone: 'north' },
    cache: () => ({ heldMiB: 0, pinnedMiB: 0 }),
    all: () => table,
  })
  reporter.start()
})

afterEach(() => {
  reporter.stop()
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('a reporter', () => {
  it('begins with everything', () => {
    expect(reports).toMatchObject([
      {
        full: true,
        url: 'http://n',
        capacity: { memoryMiB: 1024 },
        pool: 'spare',
        labels: { zone: 'north' },
        instances: [{ instanceId: 'a', revision }],
      },
    ])
  })

  it('tells a moment later what invocations change, all of it together, and only what changed', () => {
    reporter.instanceChanged(instance('a', 'busy'))
    vi.advanceTimersByTime(toldWithinMs - 1)
    reporter.instanceChanged(instance('a', 'idle', { idleSince: 2 }))
    reporter.invocationEnded('i1')
    expect(reports).toHaveLength(1)
    vi.advanceTimersByTime(1)
    expect(reports).toHaveLength(2)
    expect(reports[1]).toMatchObject({ full: false, instances: [], endedInvocations: ['i1'] })
    expect(reports[1]?.changed).toEqual([{ instanceId: 'a', state: 'idle', inFlight: 0, idleSince: 2 }])
    reporter.instanceChanged(instance('a', 'busy'))
    vi.advanceTimersByTime(toldWithinMs)
    expect(changed()).toEqual([['a', 'busy', undefined]])
  })

  it('tells of an end that a scheduler wanted for its keep-alive with all that may wait', () => {
    reporter.instanceChanged(instance('a', 'ended', { reason: 'keep-alive' }))
    vi.advanceTimersByTime(toldWithinMs - 1)
    expect(reports).toHaveLength(1)
    vi.advanceTimersByTime(1)
    expect(changed()).toEqual([['a', 'ended', undefined]])
  })

  it.each([
    ['has ended', instance('a', 'ended', { reason: 'exit' })],
    ['serves once', instance('a', 'busy', { policy: { ...policy, reuse: false } })],
    ['is not worth keeping', instance('a', 'idle', { keepAliveMs: 0 })],
    ['is of a function that keeps none', instance('a', 'busy', { policy: { ...policy, cache: 'strict-cold' } })],
  ])('tells of an instance that %s at once, with whatever else there is', (_what, report) => {
    reporter.invocationEnded('i1')
    reporter.instanceChanged(report)
    vi.advanceTimersByTime(1)
    expect(reports).toHaveLength(2)
    expect(reports[1]).toMatchObject({ changed: [{ state: report.state }], endedInvocations: ['i1'] })
    vi.advanceTimersByTime(toldWithinMs)
    expect(reports).toHaveLength(2)
  })

  it('tells all of an instance that is new to the readers, and the end of one once', () => {
    table = [...table, instance('b', 'starting')]
    reporter.instanceChanged(instance('b', 'starting'))
    vi.advanceTimersByTime(toldWithinMs)
    expect(reports[1]?.instances).toMatchObject([{ instanceId: 'b', revision, memoryMiB: 128 }])
    table = table.slice(0, 1)
    reporter.instanceChanged(instance('b', 'ended', { reason: 'exit' }))
    vi.advanceTimersByTime(1)
    expect(changed()).toEqual([['b', 'ended', undefined]])
    vi.advanceTimersByTime(1000)
    expect(reports[3]).toMatchObject({ full: false, instances: [], changed: [] })
  })

  it('each second tells what differs from what was told, though nobody said that it changed', () => {
    table = [instance('a', 'idle', { idleSince: 1, keepAliveMs: 900 })]
    vi.advanceTimersByTime(1000)
    expect(changed()).toEqual([['a', 'idle', 900]])
    vi.advanceTimersByTime(1000)
    expect(changed()).toEqual([])
  })

  it('tells everything every ten seconds, and whenever it is asked', () => {
    vi.advanceTimersByTime(10_000)
    expect(reports.filter(({ full }) => full)).toHaveLength(2)
    asked.get('node.n.report-now')?.(null, { string: () => '' })
    asked.get('node.report-now')?.(null, { string: () => '' })
    expect(reports.filter(({ full }) => full)).toHaveLength(4)
  })

  it('learns the term of a scheduler that begins to lead, and tells it on', () => {
    asked.get('node.report-now')?.(null, { string: () => '7' })
    asked.get('node.report-now')?.(null, { string: () => '3' })
    expect(reports.at(-1)?.term).toBe(7)
    expect(() => fence.check(6)).toThrow('another scheduler leads')
  })

  it('leaves a scheduler with the very instances that the node has', () => {
    table = [...table, instance('b', 'starting'), instance('c', 'busy')]
    for (const each of table) reporter.instanceChanged(each)
    vi.advanceTimersByTime(1)
    table = [instance('a', 'busy'), instance('c', 'idle', { idleSince: 5, keepAliveMs: 100 })]
    reporter.instanceChanged(instance('b', 'ended'))
    vi.advanceTimersByTime(1100)
    const fleet = new Fleet()
    for (const report of reports) expect(fleet.apply(report, 10)).toBe(true)
    const known = [...(fleet.node('n')?.instances.values() ?? [])].map(({ id, state, keepAliveMs }) => ({
      id,
      state,
      keepAliveMs,
    }))
    expect(known).toEqual([
      { id: 'a', state: 'busy', keepAliveMs: undefined },
      { id: 'c', state: 'idle', keepAliveMs: 100 },
    ])
  })
})
