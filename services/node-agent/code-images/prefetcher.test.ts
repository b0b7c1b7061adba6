import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createMetrics } from '../../chassis/http-server.ts'
import { createCodeImageMetrics } from './code-image-metrics.ts'
import type { Prefetched } from './code-images.ts'
import { Prefetcher } from './prefetcher.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

const prefetcherOf = (quiet: (signal: AbortSignal) => Promise<void> = async () => undefined) => {
  const fetched: { digest: string; end: (outcome: Prefetched | Error) => void }[] = []
  const metrics = createCodeImageMetrics(createMetrics())
  const prefetcher = new Prefetcher({
    images: {
      prefetch: (digest) =>
        new Promise((resolve, reject) => {
          const end = (outcome: Prefetched | Error) => (outcome instanceof Error ? reject(outcome) : resolve(outcome))
          fetched.push({ digest, end })
        }),
    },
    quiet,
    metrics,
    logger: pino({ level: 'silent' }),
  })
  const outcomes = async () =>
    Object.fromEntries((await metrics.prefetches.get()).values.map(({ labels, value }) => [labels.outcome, value]))
  return { prefetcher, fetched, names: () => fetched.map(({ digest }) => digest), outcomes }
}
const settled = () => vi.advanceTimersByTimeAsync(0)

describe('what is fetched ahead', () => {
  it('comes one after the other, each once, also when one fails', async () => {
    const { prefetcher, fetched, names, outcomes } = prefetcherOf()
    for (const digest of ['a', 'b', 'b', 'c']) prefetcher.want(digest)
    await settled()
    expect(names()).toEqual(['a'])
    fetched[0]?.end(new Error('on purpose'))
    await settled()
    expect(names()).toEqual(['a', 'b'])
    fetched[1]?.end('no-room')
    await settled()
    fetched[2]?.end('fetched')
    await settled()
    expect(names()).toEqual(['a', 'b', 'c'])
    expect(await outcomes()).toEqual({ failed: 1, 'no-room': 1, fetched: 1 })
  })

  it('waits for its time, unless it is wanted sooner by then', async () => {
    const { prefetcher, names } = prefetcherOf()
    prefetcher.want('later', undefined, 1_000)
    await vi.advanceTimersByTimeAsync(999)
    expect(names()).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(names()).toEqual(['later'])
    const second = prefetcherOf()
    second.prefetcher.want('sooner', undefined, 1_000)
    second.prefetcher.want('sooner')
    await settled()
    expect(second.names()).toEqual(['sooner'])
  })

  it('waits while a start has a caller waiting', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { prefetcher, names } = prefetcherOf(() => promise)
    prefetcher.want('a')
    await settled()
    expect(names()).toEqual([])
    resolve()
    await settled()
    expect(names()).toEqual(['a'])
  })

  it('no more wait than may', async () => {
    const { prefetcher, fetched, names } = prefetcherOf()
    for (let at = 0; at < 1_000; at++) prefetcher.want(String(at))
    for (let at = 0; at < 1_000; at++) {
      fetched[at]?.end('fetched')
      await settled()
    }
    expect(names().length).toBeLessThan(300)
  })

  it('nothing begins any more once it is closed, and what was begun ends', async () => {
    const { prefetcher, fetched, names, outcomes } = prefetcherOf()
    for (const digest of ['a', 'b']) prefetcher.want(digest)
    await settled()
    const closed = prefetcher.close()
    prefetcher.want('c')
    fetched[0]?.end('fetched')
    await closed
    await settled()
    expect([names(), await outcomes()]).toEqual([['a'], { fetched: 1 }])
  })
})
