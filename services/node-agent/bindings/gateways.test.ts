import type { Msg, NatsConnection, Subscription, SubscriptionOptions } from '@nats-io/transport-node'
import { expect, it, vi } from 'vitest'
import { followGateways, Gateways } from './gateways.ts'

const at = () => {
  let now = 0
  const gateways = new Gateways(() => now)
  const hear = (...urls: string[]) => urls.forEach((url) => gateways.heard({ url, leaving: false }))
  return { gateways, hear, pass: (ms: number) => (now += ms) }
}

it('gateways take turns', () => {
  const { gateways, hear } = at()
  expect(gateways.inOrder()).toEqual([])
  hear('a', 'b')
  expect([gateways.inOrder(), gateways.inOrder(), gateways.inOrder()]).toEqual([
    ['a', 'b'],
    ['b', 'a'],
    ['a', 'b'],
  ])
})

it('one that failed is asked last, for a while', () => {
  const { gateways, hear, pass } = at()
  hear('a', 'b')
  gateways.failed('a')
  expect([gateways.inOrder()[0], gateways.inOrder()[0]]).toEqual(['b', 'b'])
  hear('a')
  expect(gateways.inOrder()[0]).toBe('b')
  pass(2_000)
  expect(new Set([gateways.inOrder()[0], gateways.inOrder()[0]])).toEqual(new Set(['a', 'b']))
})

it('one that is silent is asked last, and all are kept when nobody is heard', () => {
  const { gateways, hear, pass } = at()
  hear('a', 'b')
  pass(6_000)
  hear('b')
  expect([gateways.inOrder()[0], gateways.inOrder()[0]]).toEqual(['b', 'b'])
  pass(60_000)
  expect(gateways.inOrder()).toHaveLength(2)
  hear('b')
  pass(10 * 60_000)
  hear('b')
  expect(gateways.inOrder()).toEqual(['b'])
})

it('one that leaves is asked no more, until it is here again', () => {
  const { gateways, hear } = at()
  hear('a', 'b')
  gateways.heard({ url: 'a', leaving: true })
  expect([gateways.inOrder(), gateways.urls]).toEqual([['b'], ['b']])
  hear('a')
  expect(gateways.inOrder()).toHaveLength(2)
})

it('what gateways say is heard, also after the subject was refused for a while; what they do not say is not', async () => {
  vi.useFakeTimers()
  try {
    const made: { hear: (text: string) => void; refuse: () => void }[] = []
    const unsubscribe = vi.fn()
    const connection = {
      isClosed: () => false,
      subscribe: (_subject: string, { callback }: SubscriptionOptions) => {
        const { promise: closed, resolve: refuse } = Promise.withResolvers<void>()
        made.push({ hear: (text) => void callback?.(null, { string: () => text } as Msg), refuse })
        return { closed, unsubscribe } as unknown as Subscription
      },
    } as Pick<NatsConnection, 'subscribe' | 'isClosed'>
    const gateways = new Gateways()
    const end = followGateways(connection, gateways)
    for (const text of ['', '{}', '{"url":"ftp://x","leaving":false}']) made[0]?.hear(text)
    made[0]?.hear('{"url":"http://first","leaving":false}')
    expect(gateways.urls).toEqual(['http://first'])
    made[0]?.refuse()
    await vi.advanceTimersByTimeAsync(1_000)
    made[1]?.hear('{"url":"http://second","leaving":false}')
    expect(gateways.urls).toEqual(['http://first', 'http://second'])
    end()
    made[1]?.refuse()
    await vi.advanceTimersByTimeAsync(10_000)
    expect([made.length, unsubscribe.mock.calls.length]).toEqual([2, 1])
  } finally {
    vi.useRealTimers()
  }
})
