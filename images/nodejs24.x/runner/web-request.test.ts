import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { readHttpRequest } from './web-request.ts'

const head = Buffer.concat([Buffer.from(JSON.stringify({ method: 'POST' })), Buffer.alloc(8)])
const whole = Buffer.concat([head, Buffer.from('hello')])

/** As a socket does it: in a turn of the event loop, after which what is due next goes before promises. */
const push = (stream: Readable, ...chunks: (Buffer | null)[]): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(() => {
      for (const chunk of chunks) stream.push(chunk)
      setImmediate(resolve)
    })
  })

test('the body is whole wherever the pieces of a request end', async () => {
  for (let at = 1; at < whole.length; at++) {
    const stream = new Readable({ read: () => undefined })
    const reading = readHttpRequest(stream)
    await push(stream, whole.subarray(0, at))
    await push(stream, whole.subarray(at), null)
    const { prelude, body } = await reading
    expect(prelude).toEqual({ method: 'POST' })
    expect(await text(body), `pieces of ${at} and ${whole.length - at} bytes`).toBe('hello')
  }
})

test('a request that ends in its head is none', async () => {
  const stream = new Readable({ read: () => undefined })
  const reading = readHttpRequest(stream)
  await Promise.all([
    expect(reading).rejects.toThrow('ended before its body'),
    push(stream, head.subarray(0, -1)).then(async () => push(stream, null)),
  ])
})
