import { PassThrough, Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { buffer } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { ReplayableBody } from './replayable-body.ts'

const limit = { key: 'limits.urlBodyBytes', bytes: 10 }
const bytes = (...parts: string[]) => Readable.from(parts.map((part) => Buffer.from(part)))
const read = async (body: ReplayableBody) => (await buffer(body.read())).toString()

describe('a body', () => {
  it('is its prefix and what came', async () => {
    expect(await read(new ReplayableBody(Buffer.from('>'), bytes('ab', 'c'), limit))).toBe('>abc')
  })

  it('can be read again from its start', async () => {
    const body = new ReplayableBody(Buffer.from('>'), bytes('ab', 'c', 'd'), limit)
    const first = body.read()
    await first.next()
    expect((await first.next()).value.toString()).toBe('ab')
    await first.return(undefined)
    expect(await read(body)).toBe('>abcd')
    expect(await read(body)).toBe('>abcd')
  })

  it('gives each byte as it comes', async () => {
    const source = new PassThrough()
    const reader = new ReplayableBody(Buffer.alloc(0), source, limit).read()
    source.write('a')
    expect((await reader.next()).value.toString()).toBe('a')
    const next = reader.next()
    expect(await Promise.race([next, delay(20, 'waits')])).toBe('waits')
    source.end('b')
    expect((await next).value.toString()).toBe('b')
    expect((await reader.next()).done).toBe(true)
  })

  it('keeps nothing once it is released, and loses nothing', async () => {
    const body = new ReplayableBody(Buffer.alloc(0), bytes('a', 'b', 'c'), limit)
    const reader = body.read()
    await reader.next()
    body.release()
    expect((await buffer(reader)).toString()).toBe('bc')
    expect(await read(body)).not.toBe('abc')
  })

  it('is taken up to its limit, to the byte, and refused beyond it for every reader', async () => {
    expect(await read(new ReplayableBody(Buffer.from('prefix'), bytes('12345', '67890'), limit))).toBe(
      'prefix1234567890',
    )
    const over = new ReplayableBody(Buffer.alloc(0), bytes('12345', '678901'), limit)
    const refusal = { code: 'REQUEST_TOO_LARGE', details: { limit: 'limits.urlBodyBytes', bytes: 10 } }
    await expect(read(over)).rejects.toMatchObject(refusal)
    // Not a shorter body that looks whole.
    await expect(read(over)).rejects.toMatchObject(refusal)
  })

  it('that breaks off is never taken for a whole one', async () => {
    const source = new PassThrough()
    const body = new ReplayableBody(Buffer.alloc(0), source, limit)
    source.write('a')
    const reader = body.read()
    await reader.next()
    source.destroy(new Error('gone'))
    await expect(reader.next()).rejects.toThrow('gone')
    await expect(read(body)).rejects.toThrow('gone')
  })
})
