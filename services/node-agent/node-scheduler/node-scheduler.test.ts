import { Registry } from 'prom-client'
import { pino } from 'pino'
import { describe, expect, it, vi } from 'vitest'
import type { InstanceReport, StartInstance } from '../../contracts/node.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { SandboxExit } from '../instance.ts'
import { createSchedulerMetrics } from '../metrics.ts'
import { NodeScheduler, type NodeSchedulerDeps } from './node-scheduler.ts'
import type { Revisions } from './revisions.ts'
import type { Started } from './sandbox-starter.ts'

const revision = { tenant: 't', name: 'f', version: '1', revisionId: 'r' }
const command = (instanceId: string): StartInstance => ({
  instanceId,
  revision,
  runtime: 'nodejs24.x',
  memoryMiB: 128,
  policy: { concurrency: 1, reuse: true, keepAliveMs: 1000 },
  startWish: 'auto',
})

/** A started instance whose life the test decides. */
const instance = (id: string) => {
  const ready = Promise.withResolvers<void>()
  const exited = Promise.withResolvers<SandboxExit>()
  const endpoint = { instanceId: id, inFlight: 0, ready: ready.promise, drain: async () => {}, close: async () => {} }
  const end = vi.fn(async (exit: SandboxExit) => {
    exited.resolve(exit)
    return exit
  })
  const running = { sandbox: { id, exited: exited.promise, end }, endpoint, way: 'boot' } as unknown as Started
  return { ready, exited, endpoint, end, running }
}

const setUp = (overrides: Partial<NodeSchedulerDeps> = {}) => {
  const reports: InstanceReport[] = []
  const start = vi.fn<() => Promise<Started>>()
  const gateway = { waiting: vi.fn(() => 1), failWaiting: vi.fn(), openEndpoint: vi.fn() }
  const scheduler = new NodeScheduler({
    gateway,
    starter: { start },
    plan: {
      startCommanded: vi.fn(),
      habits: { startEnded: vi.fn() },
      started: vi.fn(),
      keepAliveMs: (_key, _policy, rank) => (rank === 0 ? 500 : 0),
    },
    makeRoom: async () => undefined,
    fill: vi.fn(),
    revisions: { config: async () => ({}) } as unknown as Revisions,
    logger: pino({ level: 'silent' }),
    startParallelism: 1,
    maxInstances: 3,
    onChange: (report) => reports.push(report),
    metrics: createSchedulerMetrics(new Registry()),
    ...overrides,
  })
  return { scheduler, start, gateway, reports }
}

describe('NodeScheduler', () => {
  it('reports starting, idle and busy as the instance goes through them', async () => {
    const { scheduler, start, reports } = setUp()
    const one = instance('s1')
    start.mockResolvedValue(one.running)
    scheduler.start(command('a'))
    one.ready.resolve()
    await vi.waitFor(() => expect(scheduler.reports()[0]?.state).toBe('idle'))
    one.endpoint.inFlight = 1
    scheduler.stateChanged('s1')
    expect(reports.map(({ state }) => state)).toEqual(['starting', 'idle', 'busy'])
  })

  it('runs no more starts at once than it may, and cancels those that nobody waits for any more', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const { scheduler, start, gateway, reports } = setUp()
      const one = instance('s1')
      start.mockResolvedValue(one.running)
      scheduler.start(command('a'))
      scheduler.start(command('b'))
      expect(start.mock.calls.length).toBeLessThanOrEqual(1)
      vi.advanceTimersByTime(1000)
      gateway.waiting.mockReturnValue(0)
      one.ready.resolve()
      await vi.waitFor(() =>
        expect(reports.at(-1)).toMatchObject({ instanceId: 'b', state: 'ended', reason: 'surplus' }),
      )
      expect(start).toHaveBeenCalledTimes(1)
    } finally {
      vi.useRealTimers()
    }
  })

  it('fails the waiting requests when a start fails, and forgets the instance', async () => {
    const { scheduler, start, gateway } = setUp()
    start.mockRejectedValue(new Error('no sandbox'))
    scheduler.start(command('a'))
    await vi.waitFor(() => expect(gateway.failWaiting).toHaveBeenCalledWith(revision, expect.any(PlatformError)))
    expect(scheduler.reports()).toEqual([])
    expect(scheduler.willServe({ revision, invocationId: 'i', forced: false })).toBe(false)
  })

  it('remembers for a while why it cannot start a revision: its request may be still on its way', async () => {
    vi.useFakeTimers()
    try {
      const { scheduler, start, gateway } = setUp()
      start.mockRejectedValue(new PlatformError('NO_CAPACITY', 'damaged'))
      scheduler.start(command('a'))
      await vi.waitFor(() => expect(gateway.failWaiting).toHaveBeenCalled())
      expect(scheduler.refusal(revision)).toMatchObject({ code: 'NO_CAPACITY', message: 'damaged' })
      expect(scheduler.refusal({ ...revision, revisionId: 'other' })).toBe(undefined)
      vi.advanceTimersByTime(60_000)
      expect(scheduler.refusal(revision)).toBe(undefined)
    } finally {
      vi.useRealTimers()
    }
  })

  it('refuses more instances than it may have', () => {
    const { scheduler, start } = setUp()
    start.mockReturnValue(new Promise(() => {}))
    for (const id of ['a', 'b', 'c']) scheduler.start(command(id))
    expect(() => scheduler.start(command('d'))).toThrow(expect.objectContaining({ code: 'NO_CAPACITY' }))
  })

  it('reports an instance that dies by itself as ended, with the reason', async () => {
    const { scheduler, start, reports } = setUp()
    const one = instance('s1')
    start.mockResolvedValue(one.running)
    scheduler.start(command('a'))
    one.ready.resolve()
    await vi.waitFor(() => expect(scheduler.reports()[0]?.state).toBe('idle'))
    one.exited.resolve({ reason: 'out-of-memory', detail: '' })
    await vi.waitFor(() => expect(reports.at(-1)).toMatchObject({ state: 'ended', reason: 'out-of-memory' }))
  })

  it('ends an instance that was told to end while it was being made, as soon as it is', async () => {
    const { scheduler, start } = setUp()
    const made = Promise.withResolvers<Started>()
    start.mockReturnValue(made.promise)
    scheduler.start(command('a'))
    scheduler.end('a', 'surplus')
    expect(scheduler.willServe({ revision, invocationId: 'i', forced: false })).toBe(false)
    const one = instance('s1')
    made.resolve(one.running)
    await vi.waitFor(() => expect(one.end).toHaveBeenCalled())
    await vi.waitFor(() => expect(scheduler.reports()).toEqual([]))
  })

  it('closes only when what was being made has ended too', async () => {
    const { scheduler, start } = setUp()
    const made = Promise.withResolvers<Started>()
    start.mockReturnValue(made.promise)
    scheduler.start(command('a'))
    const closed = scheduler.close()
    const one = instance('s1')
    made.resolve(one.running)
    await closed
    expect(one.end).toHaveBeenCalled()
  })

  it('serves a forced request only with the instance that was started for it', () => {
    const { scheduler, start } = setUp()
    start.mockReturnValue(new Promise(() => {}))
    scheduler.start({ ...command('a'), startWish: 'boot', forInvocation: 'mine' })
    const serves = (invocationId: string) => scheduler.willServe({ revision, invocationId, forced: true })
    expect([serves('mine'), serves('other')]).toEqual([true, false])
  })

  it('takes no start while it closes', async () => {
    const { scheduler } = setUp()
    await scheduler.close()
    expect(() => scheduler.start(command('a'))).toThrow(expect.objectContaining({ code: 'NO_CAPACITY' }))
  })
})
