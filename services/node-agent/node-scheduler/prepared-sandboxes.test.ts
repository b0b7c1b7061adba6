import { pino } from 'pino'
import { describe, expect, it, vi } from 'vitest'
import type { SandboxExit } from '../instance.ts'
import { PreparedSandboxes, type PreparedKind } from './prepared-sandboxes.ts'
import type { SandboxInstance } from './sandbox-maker.ts'

const setUp = (given: Record<PreparedKind, number>) => {
  const sizes = { ...given }
  const deaths = new Map<SandboxInstance, (exit: SandboxExit) => void>()
  let made = 0
  const make = vi.fn(async (_runtime: string, _kind: PreparedKind): Promise<SandboxInstance> => {
    const exited = Promise.withResolvers<SandboxExit>()
    const instance = { sandbox: { id: String(++made), exited: exited.promise } } as unknown as SandboxInstance
    deaths.set(instance, exited.resolve)
    return instance
  })
  const end = vi.fn(async () => {})
  const evicted = vi.fn<(kind: PreparedKind) => void>()
  const logger = pino({ level: 'silent' })
  const prepared = new PreparedSandboxes({
    runtimes: ['nodejs24.x'],
    size: (kind) => sizes[kind],
    make,
    end,
    onEvicted: evicted,
    logger,
  })
  return { prepared, make, end, deaths, sizes, evicted }
}

describe('PreparedSandboxes', () => {
  it('makes as many of each kind as it should hold, and no more', () => {
    const { prepared, make } = setUp({ created: 2, parked: 1 })
    prepared.fill()
    prepared.fill()
    expect(make.mock.calls.map(([, kind]) => kind)).toEqual(['parked', 'created', 'created'])
    expect([prepared.count('created', 'nodejs24.x'), prepared.count('parked', 'nodejs24.x')]).toEqual([2, 1])
  })

  it('gives each away once, and has nothing for a runtime that it does not hold', async () => {
    const { prepared } = setUp({ created: 1, parked: 0 })
    prepared.fill()
    expect((await prepared.take('created', 'nodejs24.x'))?.sandbox.id).toBe('1')
    expect(prepared.take('created', 'nodejs24.x')).toBeUndefined()
    expect(prepared.take('created', 'provided.al2023')).toBeUndefined()
  })

  it('replaces one that dies while it waits', async () => {
    const { prepared, make, deaths } = setUp({ created: 0, parked: 1 })
    prepared.fill()
    await vi.waitFor(() => expect(deaths.size).toBe(1))
    for (const die of deaths.values()) die({ reason: 'out-of-memory', detail: '' })
    await vi.waitFor(() => expect(make).toHaveBeenCalledTimes(2))
    expect(prepared.count('parked', 'nodejs24.x')).toBe(1)
  })

  it('does not replace one that was taken and ends later', async () => {
    const { prepared, make, deaths } = setUp({ created: 1, parked: 0 })
    prepared.fill()
    const taken = await prepared.take('created', 'nodejs24.x')
    if (taken) deaths.get(taken)?.({ reason: 'exit', detail: '' })
    await new Promise((resolve) => setImmediate(resolve))
    expect(make).toHaveBeenCalledTimes(1)
  })

  it('tries again later when one cannot be made', async () => {
    vi.useFakeTimers()
    try {
      const { prepared, make } = setUp({ created: 1, parked: 0 })
      make.mockRejectedValueOnce(new Error('no room'))
      prepared.fill()
      await vi.advanceTimersByTimeAsync(0)
      expect([make.mock.calls.length, prepared.count('created', 'nodejs24.x')]).toEqual([1, 0])
      await vi.advanceTimersByTimeAsync(1_000)
      expect([make.mock.calls.length, prepared.count('created', 'nodejs24.x')]).toEqual([2, 1])
    } finally {
      vi.useRealTimers()
    }
  })

  it('does not try more and more while none can be made', async () => {
    vi.useFakeTimers()
    try {
      const { prepared, make } = setUp({ created: 2, parked: 2 })
      make.mockRejectedValue(new Error('the image is damaged'))
      prepared.fill()
      await vi.advanceTimersByTimeAsync(10_000)
      expect(make).toHaveBeenCalledTimes(4 * 11)
    } finally {
      vi.useRealTimers()
    }
  })

  it('ends what is more than wanted, and resolves when it is gone', async () => {
    const { prepared, end, sizes, evicted } = setUp({ created: 2, parked: 2 })
    prepared.fill()
    sizes.parked = 1
    sizes.created = 0
    await prepared.trim()
    expect(end).toHaveBeenCalledTimes(3)
    expect(evicted.mock.calls).toEqual([['parked'], ['created'], ['created']])
    expect([prepared.total, prepared.count('parked', 'nodejs24.x')]).toEqual([1, 1])
  })

  it('ends what waits when it closes, also what is still in the making, and makes nothing after', async () => {
    const { prepared, make, end } = setUp({ created: 2, parked: 0 })
    prepared.fill()
    await prepared.close()
    expect(end).toHaveBeenCalledTimes(2)
    prepared.fill()
    expect(make).toHaveBeenCalledTimes(2)
  })
})
