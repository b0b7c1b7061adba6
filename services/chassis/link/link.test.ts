import { duplexPair, type Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Link, type Message } from './link.ts'

const limits = { frameBytes: 1000, silenceMs: 3_000 }

interface End {
  readonly link: Link
  readonly socket: Duplex
  readonly messages: Message[]
  readonly closed: Promise<Error | undefined>
}

const open: Link[] = []

const endOf = (socket: Duplex): End => {
  const messages: Message[] = []
  const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>()
  const handlers = { onMessage: (message: Message) => void messages.push(message), onClose: resolve }
  const link = new Link(socket, handlers, undefined, limits)
  open.push(link)
  return { link, socket, messages, closed }
}

/** An end, and the bare other side. */
const half = () => {
  const [near, far] = duplexPair()
  return { end: endOf(near), far }
}

const pair = (): [End, End] => {
  const [near, far] = duplexPair()
  return [endOf(near), endOf(far)]
}

const frameOf = (value: unknown): Buffer => {
  const text = Buffer.from(JSON.stringify(value))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text])
}

afterEach(() => {
  for (const link of open.splice(0)) link.destroy()
  vi.useRealTimers()
})

describe('a link', () => {
  it('sends all messages of a turn in one write', async () => {
    const { end, far } = half()
    const written: Buffer[] = []
    far.on('data', (bytes: Buffer) => written.push(bytes))
    for (let n = 0; n < 5; n++) end.link.send(['m', n])
    await vi.waitFor(() => expect(written).toHaveLength(1))
    const [text] = written
    expect(JSON.parse(text?.subarray(4).toString() ?? '')).toHaveLength(5)
  })

  it('sends what is in no hurry with whatever is sent next, before it', async () => {
    const { end, far } = half()
    const written: Buffer[] = []
    far.on('data', (bytes: Buffer) => written.push(bytes))
    end.link.send(['later', 1], false)
    await turn()
    await turn()
    expect(written).toEqual([])
    end.link.send(['now', 2])
    await vi.waitFor(() =>
      expect(written).toEqual([
        frameOf([
          ['later', 1],
          ['now', 2],
        ]),
      ]),
    )
  })

  it('sends what is in no hurry before it ends', async () => {
    const [a, b] = pair()
    a.link.send(['later'], false)
    a.link.end()
    await b.closed
    expect(b.messages).toEqual([['later']])
  })

  it('delivers messages in order, whatever is in them', async () => {
    const [a, b] = pair()
    const sent: Message[] = [['ä', '\n', { deep: [1, null] }], ['second'], []]
    for (const message of sent) a.link.send(message)
    await vi.waitFor(() => expect(b.messages).toEqual(sent))
  })

  it('reads frames that come in pieces of any size', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.array(fc.string(), { maxLength: 3 }), { maxLength: 4 }), { maxLength: 5 }),
        cuts,
        (frames, sizes) => {
          const messages: Message[] = []
          const [near] = duplexPair()
          const link = new Link(near, { onMessage: (message) => void messages.push(message), onClose: () => undefined })
          const bytes = Buffer.concat(frames.map(frameOf))
          for (let at = 0, cut = 0; at < bytes.length; cut++) {
            const size = sizes[cut % sizes.length] ?? 1
            near.emit('data', bytes.subarray(at, at + size))
            at += size
          }
          link.destroy()
          expect(messages).toEqual(frames.flat())
        },
      ),
    )
  })

  it.each([
    ['a longer frame than it may', Buffer.from([0, 0, 255, 255])],
    ['no JSON', Buffer.from([0, 0, 0, 1, 65])],
    ['no array', frameOf({})],
    ['a message that is no array', frameOf([1])],
  ])('that gets %s is closed', async (_what, bytes) => {
    const { end, far } = half()
    far.write(bytes)
    expect(await end.closed).toBeInstanceOf(Error)
    expect(end.messages).toEqual([])
  })

  it('sends what is queued before it ends, and nothing after', async () => {
    const [a, b] = pair()
    a.link.send(['last'])
    a.link.end()
    a.link.send(['too late'])
    await b.closed
    expect(b.messages).toEqual([['last']])
  })

  it('takes nothing more from a peer that takes no answers', async () => {
    const { end, far } = half()
    far.pause()
    const filler = 'x'.repeat(900)
    for (let n = 0; n < 2000; n++) end.link.send([filler])
    await vi.waitFor(() => expect(end.socket.isPaused()).toBe(true))
    far.resume()
    await vi.waitFor(() => expect(end.socket.isPaused()).toBe(false))
  })
})

describe('signs of life', () => {
  it('bring what is in no hurry along', async () => {
    vi.useFakeTimers()
    const [a, b] = pair()
    a.link.send(['later'], false)
    await vi.advanceTimersByTimeAsync(999)
    expect(b.messages).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(b.messages).toEqual([['later']])
  })

  it('keep a link that says nothing', async () => {
    vi.useFakeTimers()
    const [a, b] = pair()
    for (let second = 0; second < 20; second++) await vi.advanceTimersByTimeAsync(1_000)
    expect([a.link.closed, b.link.closed]).toEqual([false, false])
  })

  it('end a link whose peer gives none', async () => {
    vi.useFakeTimers()
    const { end } = half()
    vi.advanceTimersByTime(2_900)
    expect(end.link.closed).toBe(false)
    vi.advanceTimersByTime(2_000)
    expect(await end.closed).toMatchObject({ message: 'the peer is silent' })
  })
})
