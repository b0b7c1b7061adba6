import type { Msg, NatsConnection, Subscription, SubscriptionOptions } from '@nats-io/transport-node'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { NodeFiles, NodeHere } from '../../contracts/code-images.ts'
import { Value } from 'typebox/value'
import { announceNode } from './announce.ts'
import { FilesReporter } from './files-reporter.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const connectionOf = () => {
  const published: { subject: string; text: string }[] = []
  const heard = new Map<string, (text: string, subject: string) => void>()
  const connection = {
    isClosed: () => false,
    publish: (subject: string, text: string) => void published.push({ subject, text }),
    subscribe: (subject: string, { callback }: SubscriptionOptions) => {
      heard.set(subject, (text, as) => void callback?.(null, { subject: as, string: () => text } as Msg))
      return {
        closed: new Promise(() => undefined),
        unsubscribe: () => heard.delete(subject),
      } as unknown as Subscription
    },
  } as unknown as Pick<NatsConnection, 'publish' | 'subscribe' | 'isClosed'>
  const take = () => published.splice(0)
  return { connection, take, say: (subject: string, text: string, as = subject) => heard.get(subject)?.(text, as) }
}

it('schedulers are told all at the beginning and when they ask, and what changes', () => {
  const { connection, take, say } = connectionOf()
  let checkpoints = ['a']
  let code = ['a', 'b']
  const reporter = new FilesReporter({ connection, nodeId: 'n', checkpoints: () => checkpoints, code: () => code })
  const told = () =>
    take().map(({ subject, text }) => {
      expect(subject).toBe('node.n.files')
      return Value.Parse(NodeFiles, JSON.parse(text))
    })
  const files = { nodeId: 'n', all: false, checkpoints: [], code: [], gone: [] }
  reporter.start()
  expect(told()).toEqual([{ ...files, all: true, checkpoints: ['a'], code: ['b'] }])
  vi.advanceTimersByTime(1_000)
  expect(told()).toEqual([])
  checkpoints = ['a', 'b']
  code = ['c']
  vi.advanceTimersByTime(1_000)
  expect(told()).toEqual([{ ...files, checkpoints: ['b'], code: ['c'] }])
  checkpoints = ['a']
  vi.advanceTimersByTime(1_000)
  expect(told()).toEqual([{ ...files, gone: ['b'] }])
  say('node.report-now', '')
  say('node.n.report-now', '')
  expect(told()).toEqual([])
  vi.advanceTimersByTime(1_000)
  expect(told()).toEqual([{ ...files, all: true, checkpoints: ['a'], code: ['c'] }])
  vi.advanceTimersByTime(60_000)
  expect(told()).toEqual([{ ...files, all: true, checkpoints: ['a'], code: ['c'] }])
  reporter.stop()
  code = []
  vi.advanceTimersByTime(120_000)
  expect(told()).toEqual([])
})

it('one message has no more than a scheduler reads: the latest', () => {
  const { connection, take } = connectionOf()
  const many = Array.from({ length: 5_000 }, (_, at) => `r${at}`)
  new FilesReporter({ connection, nodeId: 'n', checkpoints: () => many, code: () => ['c'] }).start()
  const [told] = take().map(({ text }) => Value.Parse(NodeFiles, JSON.parse(text)))
  expect([told?.checkpoints.length, told?.checkpoints.at(-1)]).toEqual([2_000, 'r4999'])
})

it('nodes hear of each other, each of the others by their own names alone', () => {
  const { connection, take, say } = connectionOf()
  const known: NodeHere[] = []
  const end = announceNode(
    connection,
    { size: 1, heard: (here) => void known.push(here) },
    { nodeId: 'n', url: 'http://n' },
    () => undefined,
  )
  const here = { nodeId: 'm', url: 'http://m', leaving: false }
  say('node.*.here', JSON.stringify(here), 'node.m.here')
  say('node.*.here', JSON.stringify(here), 'node.x.here')
  // One that joined by a token is no peer, whatever it says.
  say('node.*.here', JSON.stringify({ ...here, nodeId: 'y_a' }), 'node.y_a.here')
  say('node.*.here', '{', 'node.m.here')
  say('node.*.here', JSON.stringify({ ...here, url: 'ftp://m' }), 'node.m.here')
  expect(known).toEqual([here])
  vi.advanceTimersByTime(5_000)
  end()
  vi.advanceTimersByTime(60_000)
  const said = take().map(({ subject, text }) => [subject, JSON.parse(text) as unknown])
  const own = { nodeId: 'n', url: 'http://n' }
  expect(said).toEqual([
    ['node.n.here', { ...own, leaving: false }],
    ['node.n.here', { ...own, leaving: false }],
    ['node.n.here', { ...own, leaving: true }],
  ])
})
