import { assert, property, uint8Array } from 'fast-check'
import { expect, test } from 'vitest'
import { fromAnswer, toPayloadV2 } from './payload-v2.ts'

const prelude = {
  method: 'POST',
  target: '/a%20b?x=1&x=2&y=%20',
  headers: [
    ['Cookie', 'a=1; b=2'],
    ['X-Two', '1'],
    ['x-two', '2'],
    ['content-type', 'application/json'],
  ] as [string, string][],
  host: 'id.lambda-url.localhost:80',
  urlId: 'id',
  sourceIp: '127.0.0.1',
  protocol: 'HTTP/1.1',
  receivedAt: Date.UTC(2026, 10, 24, 15, 4, 5),
}

test('the event has joined lower-case headers, cookies apart, and the raw target', () => {
  expect(toPayloadV2(prelude, Buffer.from('{}'), 'r')).toMatchObject({
    rawPath: '/a%20b',
    rawQueryString: 'x=1&x=2&y=%20',
    cookies: ['a=1', 'b=2'],
    headers: { 'x-two': '1,2' },
    queryStringParameters: { x: '1,2', y: ' ' },
    requestContext: { domainName: 'id.lambda-url.localhost', stage: '$default', time: '24/Nov/2026:15:04:05 +0000' },
    body: '{}',
    isBase64Encoded: false,
  })
})

test('any body survives the way into the event', () => {
  assert(
    property(uint8Array(), (bytes) => {
      const event = toPayloadV2({ ...prelude, headers: [] }, Buffer.from(bytes), 'r')
      expect(Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8')).toEqual(Buffer.from(bytes))
    }),
  )
})

test('an answer without statusCode is the body of a 200, a string without its quotes', () => {
  expect(fromAnswer(Buffer.from('{"a":1}'))).toMatchObject({
    prelude: { statusCode: 200 },
    body: Buffer.from('{"a":1}'),
  })
  expect(fromAnswer(Buffer.from('"hi"')).body.toString()).toBe('hi')
})

test('an answer with statusCode sets status, headers, cookies and a decoded body', () => {
  const answer = { statusCode: 201, headers: { 'X-A': 1 }, cookies: ['c=1'], body: 'aGk=', isBase64Encoded: true }
  const { prelude, body } = fromAnswer(Buffer.from(JSON.stringify(answer)))
  expect(prelude).toMatchObject({ statusCode: 201, headers: { 'x-a': '1' }, cookies: ['c=1'] })
  expect(body.toString()).toBe('hi')
})
