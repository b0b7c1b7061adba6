import { array, assert, integer, property } from 'fast-check'
import { expect, test } from 'vitest'
import { ReplyReader, type ReplyHead } from './http-reply.ts'

const read = (chunks: readonly Buffer[]) => {
  const replies: { head: ReplyHead; body: string; ended: boolean }[] = []
  const last = () => replies.at(-1) as (typeof replies)[number]
  const reader = new ReplyReader({
    head: (head) => replies.push({ head, body: '', ended: false }),
    data: (chunk) => (last().body += chunk.toString('latin1')),
    end: () => (last().ended = true),
  })
  for (const chunk of chunks) reader.push(chunk)
  return replies
}

const wire = Buffer.from(
  [
    'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\ncontent-length: 2\r\n\r\n{}',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: ä \r\n\r\n5\r\nhello\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n',
    'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n',
  ].join(''),
  'latin1',
)

test('replies are the same wherever the bytes are cut', () => {
  const whole = read([wire])
  expect(whole.map(({ head, body, ended }) => [head.status, body, ended])).toEqual([
    [202, '{}', true],
    [200, 'hello0123456789', true],
    [403, '', true],
  ])
  expect(whole[1]?.head.headers.get('x')).toBe('ä')
  assert(
    property(array(integer({ min: 0, max: wire.length }), { maxLength: 20 }), (cuts) => {
      const sorted = [0, ...cuts.toSorted((a, b) => a - b), wire.length]
      expect(read(sorted.slice(1).map((end, index) => wire.subarray(sorted[index], end)))).toEqual(whole)
    }),
  )
})

test('what is no HTTP is refused, at once or when it never ends', () => {
  expect(() => read([Buffer.from('hello\r\n\r\n')])).toThrow('not an HTTP reply')
  expect(() => read([Buffer.alloc(70_000, 'a')])).toThrow('too long')
  expect(() => read([Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n')])).toThrow('chunk size')
})
