import { describe, expect, it } from 'vitest'
import { checkPayload, takeClientContext } from './payload.ts'
import { traceparentOf } from './traceparent.ts'

describe('a payload', () => {
  it.each(['{}', 'null', ' [1] ', '"ä"'])('is JSON: %s', (text) => checkPayload(Buffer.from(text)))
  it.each(['', '{', '{a:1}', '1 2', "'a'", 'undefined'])('is not JSON: %j', (text) => {
    expect(() => checkPayload(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST_CONTENT' }))
  })
  it('is UTF-8', () => {
    expect(() => checkPayload(Buffer.from([0x22, 0xff, 0x22]))).toThrow('UTF-8')
  })
})

const base64 = (text: string) => Buffer.from(text).toString('base64')

describe('a client context', () => {
  it('becomes one line of ASCII, and means the same', () => {
    const taken = Buffer.from(takeClientContext(base64('{\n "a": "ä\u2028\\n" }\r\n')) ?? '', 'base64').toString()
    expect(taken).toMatch(/^[\x20-\x7e]*$/)
    expect(JSON.parse(taken)).toEqual({ a: 'ä\u2028\n' })
  })
  it('may be absent', () => expect(takeClientContext(undefined)).toBeUndefined())
  it.each([
    '{}',
    base64('{'),
    base64('[]'),
    base64('1'),
    `${base64('{}')}!`,
    base64(JSON.stringify({ a: 'x'.repeat(4000) })),
  ])('is refused: %.20s', (header) => {
    expect(() => takeClientContext(header)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST_CONTENT' }))
  })
})

describe('traceparent', () => {
  const given = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  it('is passed on', () => expect(traceparentOf(given)).toBe(given))
  it.each([
    undefined,
    '',
    'x',
    given.toUpperCase(),
    given.replace('b7ad6b7169203331', '0'.repeat(16)),
    `ff${given.slice(2)}`,
    [given, given],
  ])('is created for %j', (header) => {
    const made = traceparentOf(header)
    expect(made).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    expect(made).not.toBe(traceparentOf(header))
  })
})
