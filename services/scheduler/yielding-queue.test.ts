import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { YieldingQueue } from './yielding-queue.ts'

const limits = { items: 1_000, sliceMs: 2, share: 0.5 }

afterEach(() => {
  vi.restoreAllMocks()
})

const clock = (): { now: number } => {
  const time = { now: 0 }
  vi.spyOn(performance, 'now').mockImplementation(() => time.now)
  return time
}

/** Each item takes a millisecond of its clock. */
const timedQueue = () => {
  const time = clock()
  const done: number[] = []
  const queue = new YieldingQueue<number>((item) => {
    done.push(item)
    time.now++
  }, limits)
  return { time, done, queue }
}

describe('a yielding queue', () => {
  it('does everything in order, a slice a turn', async () => {
    const { done, queue } = timedQueue()
    for (let item = 0; item < 7; item++) expect(queue.push(item)).toBe(true)
    const after: number[] = []
    while (queue.size > 0) {
      await turn()
      after.push(done.length)
    }
    expect(done).toEqual([0, 1, 2, 3, 4, 5, 6])
    expect(after).toEqual([2, 4, 6, 7])
  })

  it('takes its share where everything else takes long', async () => {
    const { time, done, queue } = timedQueue()
    for (let item = 0; item < 100; item++) queue.push(item)
    await turn()
    expect(done).toHaveLength(2)
    time.now += 40
    await turn()
    expect(done).toHaveLength(22)
  })

  it('says how far it is behind, and refuses what is too much', async () => {
    const time = clock()
    const queue = new YieldingQueue<number>(() => undefined, { ...limits, items: 2 })
    expect(queue.behindMs).toBe(0)
    expect([queue.push(1), queue.push(2), queue.push(3)]).toEqual([true, true, false])
    time.now += 30
    expect(queue.behindMs).toBe(30)
    await turn()
    expect([queue.size, queue.behindMs, queue.push(4)]).toEqual([0, 0, true])
  })

  it('does nothing after its end', async () => {
    const done: number[] = []
    const queue = new YieldingQueue<number>((item) => done.push(item), limits)
    queue.push(1)
    queue.close()
    await turn()
    expect([done, queue.size]).toEqual([[], 0])
  })
})
