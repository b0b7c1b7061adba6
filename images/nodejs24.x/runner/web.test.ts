import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Answer } from '../../test/fake-node.ts'
import { buildRunner, startRunner, type BuiltRunner, type RunnerProcess } from '../../test/runner-process.ts'
import { httpRequestType, httpResponseType } from './runtime-api.ts'

let built: BuiltRunner
let runner: RunnerProcess
beforeAll(async () => {
  built = await buildRunner()
}, 60_000)
afterAll(() => built.remove())
afterEach(() => runner.stop())

const start = async (code: string, handler: string) => {
  runner = await startRunner(built, { 'index.mjs': code }, { handler })
}
const prelude = (given: object = {}): Buffer => {
  const whole = {
    method: 'GET',
    target: '/a%20b?x=1',
    headers: [['accept', '*/*']],
    host: 'abc.localhost:9000',
    urlId: 'abc',
    sourceIp: '127.0.0.1',
    protocol: 'HTTP/1.1',
    receivedAt: Date.now(),
    ...given,
  }
  return Buffer.concat([Buffer.from(JSON.stringify(whole)), Buffer.alloc(8)])
}
const http = (given: object = {}, body: Buffer | Readable = Buffer.alloc(0)) => {
  const stream = Buffer.isBuffer(body) ? Readable.from([prelude(given), body]) : body
  return runner.node.invoke(stream, { headers: { 'content-type': httpRequestType } })
}
const split = ({ body }: Answer) => {
  const at = body.indexOf(Buffer.alloc(8))
  const metadata = JSON.parse(body.toString('utf8', 0, at)) as {
    statusCode: number
    headers: Record<string, string>
    cookies: string[]
  }
  return { ...metadata, body: body.subarray(at + 8).toString() }
}

test('a fetch module answers with status, headers, cookies and body', async () => {
  await start(
    `export default { async fetch(request) {
      const headers = new Headers({ 'x-a': request.headers.get('x-in') })
      headers.append('set-cookie', 'a=1; Path=/'); headers.append('set-cookie', 'b=2')
      return new Response(request.method + ' ' + request.url, { status: 201, headers })
    } }`,
    'index.default',
  )
  const answer = await http({ headers: [['x-in', 'in']] })
  expect(runner.node.kinds[0]).toBe('fetch')
  expect(answer.headers['content-type']).toBe(httpResponseType)
  expect(split(answer)).toEqual({
    statusCode: 201,
    headers: { 'x-a': 'in', 'content-type': 'text/plain;charset=UTF-8' },
    cookies: ['a=1; Path=/', 'b=2'],
    body: 'GET http://abc.localhost:9000/a%20b?x=1',
  })
})

test.each([
  ['HEAD', 'new Response("body")', 200],
  ['GET', 'new Response(null, { status: 204 })', 204],
  ['GET', 'new Response(null, { status: 304 })', 304],
])('%s with %s has no body', async (method, response, status) => {
  await start(`export const fetch = () => ${response}`, 'index.fetch')
  expect(split(await http({ method }))).toMatchObject({ statusCode: status, body: '' })
})

test('request and response bodies stream at the same time', async () => {
  await start(
    `export const fetch = (request) => new Response(request.body.pipeThrough(new TransformStream({
       transform(chunk, out) { out.enqueue(Buffer.from(Buffer.from(chunk).toString().toUpperCase())) } })))`,
    'index.fetch',
  )
  const parts = new Readable({ read: () => undefined })
  parts.push(prelude({ method: 'POST' }))
  parts.push('first ')
  const got: string[] = []
  const begun = Promise.withResolvers<void>()
  const answer = runner.node.invoke(parts, {
    headers: { 'content-type': httpRequestType },
    onAnswer: (request) => {
      request.on('data', (chunk: Buffer) => {
        got.push(chunk.toString())
        if (got.join('').includes('FIRST')) begun.resolve()
      })
    },
  })
  await begun.promise
  parts.push('second')
  parts.push(null)
  const { headers, trailers } = await answer
  expect(headers['lambda-runtime-function-response-mode']).toBe('streaming')
  expect(trailers).toEqual({})
  expect(got.join('')).toMatch(/FIRST SECOND$/)
})

test('a body that breaks is told in the trailers; one that is not read does not disturb the next request', async () => {
  await start(
    `export const fetch = (request) => request.method === 'GET' ? new Response('fine') : new Response(new ReadableStream({
       start(c) { c.enqueue(Buffer.from('half')) },
       async pull() { await new Promise((r) => setTimeout(r, 20)); throw new RangeError('torn') } }))`,
    'index.fetch',
  )
  const { trailers } = await http({ method: 'POST' }, Buffer.alloc(300_000))
  expect(trailers['lambda-runtime-function-error-type']).toBe('RangeError')
  const told = JSON.parse(
    Buffer.from(trailers['lambda-runtime-function-error-body'] ?? '', 'base64').toString(),
  ) as object
  expect(told).toMatchObject({ errorType: 'RangeError', errorMessage: 'torn' })
  expect(split(await http()).body).toBe('fine')
})

test('a body that nothing can go on with any more ends as an error', async () => {
  await start(
    `export const fetch = (request) => new Response(new ReadableStream({
       start(c) { if (request.url.endsWith('half')) c.enqueue(Buffer.from('half')) }, pull: () => new Promise(() => {}) }))`,
    'index.fetch',
  )
  expect((await http({ target: '/half' })).trailers['lambda-runtime-function-error-type']).toBe('Runtime.NodeJsExit')
  expect(JSON.parse((await http({ method: 'POST' })).body.toString())).toMatchObject({
    errorType: 'Runtime.NodeJsExit',
  })
})

test('what is no Response, or was thrown, is an error of the function', async () => {
  await start(
    `export const fetch = (request) => { if (request.method === 'GET') return 'text'; throw new Error('no') }`,
    'index.fetch',
  )
  expect(JSON.parse((await http()).body.toString())).toMatchObject({ errorType: 'Runtime.InvalidResponse' })
  expect(JSON.parse((await http({ method: 'POST' })).body.toString())).toMatchObject({ errorMessage: 'no' })
})

test('invoked directly, a fetch function gets the event as JSON and answers in payload 2.0', async () => {
  await start(
    `export const fetch = async (request) => new URL(request.url).pathname === '/'
       ? Response.json(await request.json()) : new Response(new Uint8Array([1, 255]), { headers: { 'content-type': 'image/png' } })`,
    'index.fetch',
  )
  const plain = JSON.parse((await runner.node.invoke({ a: 1 })).body.toString()) as object
  expect(plain).toMatchObject({ statusCode: 200, body: '{"a":1}', isBase64Encoded: false })
  const event = { version: '2.0', rawPath: '/image', requestContext: { http: { method: 'GET' } } }
  const image = JSON.parse((await runner.node.invoke(event)).body.toString()) as object
  expect(image).toMatchObject({ body: 'Af8=', isBase64Encoded: true })
})

test('a streaming handler writes as it goes, with status and headers in front', async () => {
  await start(
    `export const handler = awslambda.streamifyResponse(async (event, stream) => {
       const out = awslambda.HttpResponseStream.from(stream, { statusCode: 418, headers: { 'x-a': '1' } })
       out.write('a'); await new Promise((r) => setTimeout(r, 20)); out.end('b')
     })`,
    'index.handler',
  )
  const answer = await runner.node.invoke({})
  expect(answer.headers['content-type']).toBe(httpResponseType)
  expect(split(answer)).toMatchObject({ statusCode: 418, headers: { 'x-a': '1' }, body: 'ab' })
})

test('a streaming handler waits for a slow reader, and fails before or after its first byte', async () => {
  await start(
    `import { pipeline } from 'node:stream/promises'; import { Readable } from 'node:stream'
     export const handler = awslambda.streamifyResponse(async ({ how }, stream) => {
       if (how === 'early') throw new RangeError('early')
       stream.setContentType('text/plain')
       if (how === 'late') { stream.write('x'); throw new RangeError('late') }
       if (how === 'broken') return pipeline(Readable.from((function* () { yield 'x'; throw new RangeError('source') })()), stream)
       if (how === 'open') { stream.write('left open'); return }
       let waited = 0
       for (let i = 0; i < 200; i++) if (!stream.write(Buffer.alloc(65536))) { waited++; await new Promise((r) => stream.once('drain', r)) }
       stream.end(); console.log('waited', waited)
     })`,
    'index.handler',
  )
  const early = await runner.node.invoke({ how: 'early' })
  expect([early.kind, JSON.parse(early.body.toString())]).toMatchObject(['error', { errorMessage: 'early' }])
  for (const how of ['late', 'broken']) {
    const { body, headers, trailers } = await runner.node.invoke({ how })
    expect([body.toString(), headers['content-type']]).toEqual(['x', 'text/plain'])
    expect(trailers['lambda-runtime-function-error-type']).toBe('RangeError')
  }
  expect((await runner.node.invoke({ how: 'open' })).body.toString()).toBe('left open')
  const { trailers } = await runner.node.invoke({}, { onAnswer: async () => delay(100) })
  expect(trailers).toEqual({})
  await delay(20)
  expect(Number(/waited (\d+)/.exec(runner.output())?.[1])).toBeGreaterThan(10)
})

const cloudEvent = {
  specversion: '1.0',
  id: '1',
  source: '/s',
  type: 't',
  data: { n: 1 },
  datacontenttype: 'application/json',
}
const ceHeaders = [
  ['ce-specversion', '1.0'],
  ['ce-id', '1'],
  ['ce-source', '/s'],
  ['ce-type', 't'],
  ['content-type', 'application/json'],
]

const post = (headers: string[][], body: unknown) =>
  http({ method: 'POST', headers }, Buffer.from(JSON.stringify(body)))

test('CloudEvents come in binary, structured and batched mode, and invoked as JSON', async () => {
  await start(
    `export const cloudEvent = async (event) => event.data?.n === 2 ? event.cloneWith({ id: 'answer' }) : { id: event.id, n: event.data.n }`,
    'index.cloudEvent',
  )
  expect(JSON.parse((await runner.node.invoke(cloudEvent)).body.toString())).toEqual({ id: '1', n: 1 })
  expect(runner.node.kinds[0]).toBe('cloudevent')
  expect(split(await post(ceHeaders, { n: 1 }))).toMatchObject({ statusCode: 200, body: '{"id":"1","n":1}' })
  expect(split(await post([['content-type', 'application/cloudevents+json']], cloudEvent)).body).toBe(
    '{"id":"1","n":1}',
  )
  expect(
    split(await post([['content-type', 'application/cloudevents-batch+json']], [cloudEvent, cloudEvent])).body,
  ).toBe('[{"id":"1","n":1},{"id":"1","n":1}]')
  expect(split(await post(ceHeaders, { n: 2 }))).toMatchObject({ headers: { 'ce-id': 'answer' }, body: '{"n":2}' })
  expect(split(await post([['content-type', 'text/plain']], 'x'))).toMatchObject({ statusCode: 400 })
  expect(JSON.parse((await runner.node.invoke({ a: 1 })).body.toString())).toMatchObject({
    errorType: 'Runtime.InvalidCloudEvent',
  })
})
