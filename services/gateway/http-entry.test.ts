import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { CreateFunctionCommand, CreateFunctionUrlConfigCommand, ListFunctionsCommand } from '@aws-sdk/client-lambda'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { permitUrl } from '../cli/url-permission.ts'
import { answerWhole, httpAnswer } from './testing/fake-node.ts'
import { roleArn, startGateway, zipOf, type TestGateway } from './testing/gateway.ts'
import { signedHead } from './testing/signed-head.ts'

let gateway: TestGateway
let urlHost: string

beforeAll(async () => {
  gateway = await startGateway({ limits: { requestMs: 1500, stalledMs: 400, requestBytes: 1024 } })
  const client = gateway.client()
  const Code = { ZipFile: await zipOf({ 'index.js': '' }) }
  await client.send(
    new CreateFunctionCommand({
      FunctionName: 'f',
      Role: roleArn,
      Runtime: 'nodejs24.x',
      Handler: 'index.handler',
      Code,
    }),
  )
  await permitUrl(client, { FunctionName: 'f' }, 'NONE')
  const { FunctionUrl } = await client.send(new CreateFunctionUrlConfigCommand({ FunctionName: 'f', AuthType: 'NONE' }))
  urlHost = new URL(FunctionUrl ?? '').host
  gateway.node.answer = (call) => answerWhole(call, httpAnswer({ statusCode: 200 }, 'url'))
})
afterAll(() => gateway.close())

interface Conversation {
  readonly socket: Socket
  /** All that came, once the gateway has closed. */
  readonly closed: Promise<string>
}
const speak = (...parts: string[]): Conversation => {
  const socket = connect(gateway.port, '127.0.0.1')
  let seen = ''
  const closed = new Promise<string>((resolve) => {
    socket.on('data', (chunk) => (seen += chunk.toString('latin1')))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(seen))
  })
  for (const part of parts) socket.write(part)
  return { socket, closed }
}
const statuses = (seen: string) => [...seen.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))
const smuggled = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n'
const chunked = '3\r\nabc\r\n0\r\n\r\n'

describe.each([
  ['the API', () => `127.0.0.1:${gateway.port}`],
  ['a function URL', () => urlHost],
])('at %s, one refusal and then the end for', (_case, host) => {
  it.each<[string, (host: string) => string]>([
    [
      'length and chunks',
      (h) =>
        `POST / HTTP/1.1\r\nHost: ${h}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    ],
    [
      'chunks and length',
      (h) =>
        `POST / HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${smuggled}`,
    ],
    [
      'two lengths',
      (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc${smuggled}`,
    ],
    [
      'a length twice',
      (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc${smuggled}`,
    ],
    ['a list of lengths', (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nContent-Length: 3, 3\r\n\r\nabc${smuggled}`],
    ['a negative length', (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nContent-Length: -1\r\n\r\n${smuggled}`],
    ['a signed length', (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nContent-Length: +3\r\n\r\nabc${smuggled}`],
    ['a space before a colon', (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nContent-Length : 3\r\n\r\nabc${smuggled}`],
    ['two hosts', (h) => `GET / HTTP/1.1\r\nHost: ${h}\r\nHost: ${h}\r\n\r\n${smuggled}`],
    ['no host', () => `GET / HTTP/1.1\r\n\r\n${smuggled}`],
    ['a host with a path', (h) => `GET / HTTP/1.1\r\nHost: ${h}/x\r\n\r\n${smuggled}`],
    ['a host with a user', (h) => `GET / HTTP/1.1\r\nHost: a@${h}\r\n\r\n${smuggled}`],
    [
      'chunks in HTTP/1.0',
      (h) => `POST / HTTP/1.0\r\nHost: ${h}\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}${smuggled}`,
    ],
    [
      'another encoding',
      (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n${chunked}${smuggled}`,
    ],
    [
      'chunks twice',
      (h) =>
        `POST / HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}${smuggled}`,
    ],
    [
      'an encoding in disguise',
      (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: xchunked\r\n\r\n${chunked}${smuggled}`,
    ],
    ['a target with a host', (h) => `GET http://${h}/healthz HTTP/1.1\r\nHost: ${h}\r\n\r\n${smuggled}`],
    ['a target that is a star', (h) => `OPTIONS * HTTP/1.1\r\nHost: ${h}\r\n\r\n${smuggled}`],
    ['a tunnel', (h) => `CONNECT ${h} HTTP/1.1\r\nHost: ${h}\r\n\r\n${smuggled}`],
    ['a folded header', (h) => `GET / HTTP/1.1\r\nHost: ${h}\r\nX-A: b\r\n c\r\n\r\n${smuggled}`],
    ['a bare line feed', (h) => `GET / HTTP/1.1\nHost: ${h}\n\n${smuggled}`],
    ['another protocol', (h) => `GET / HTTP/3.0\r\nHost: ${h}\r\n\r\n${smuggled}`],
    ['a bad chunk', (h) => `POST / HTTP/1.1\r\nHost: ${h}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n${smuggled}`],
    ['no HTTP at all', () => `\x16\x03\x01\r\n\r\n${smuggled}`],
    [
      'headers that are too long',
      (h) => `GET / HTTP/1.1\r\nHost: ${h}\r\nX-A: ${'x'.repeat(40_000)}\r\n\r\n${smuggled}`,
    ],
    [
      'too many headers',
      (h) =>
        `GET / HTTP/1.1\r\nHost: ${h}\r\n${Array.from({ length: 3000 }, (_, i) => `X-${i}: yyyyyyyy\r\n`).join('')}\r\n${smuggled}`,
    ],
  ])('%s', async (_form, text) => {
    const seen = await speak(text(host())).closed
    expect(statuses(seen)).toHaveLength(1)
    expect(statuses(seen)[0]).toBeGreaterThanOrEqual(400)
    expect(statuses(seen)[0]).toBeLessThan(500)
    expect(seen).toMatch(/connection: close/i)
    // Only a body that breaks after a good head may have been on its way.
    expect(gateway.node.calls.splice(0).every(({ request }) => !request.complete)).toBe(true)
  })
})

describe('a slow client is closed', () => {
  it.each<[string, () => Promise<string>]>([
    ['that says nothing of its head', async () => 'GET / HTTP/1.1\r\n'],
    [
      'that says nothing of its body',
      async () => (await signedHead(gateway, 'POST', '/2015-03-31/functions/f/versions', '{}')) + '{',
    ],
  ])('%s, and the others go on meanwhile', async (_case, text) => {
    const { closed } = speak(await text())
    await gateway.client().send(new ListFunctionsCommand({}))
    const [status] = statuses(await closed)
    expect([400, 408]).toContain(status)
  })

  it('that drips its body', async () => {
    const head = await signedHead(gateway, 'POST', '/2015-03-31/functions/f/versions', ' '.repeat(1000))
    const { socket, closed } = speak(head)
    const drip = setInterval(() => socket.write(' '), 100)
    const seen = await closed
    clearInterval(drip)
    expect(statuses(seen)).toHaveLength(1)
  })
})

const send = async (length: number) => {
  const path = '/2015-03-31/functions/f/versions'
  const body = '{}'.padEnd(length)
  const head = await signedHead(gateway, 'POST', path, body, { headers: { connection: 'close' } })
  return speak(head, body).closed
}

describe('a body that is not wanted', () => {
  it('is answered at once, and once', async () => {
    const from = performance.now()
    const { socket, closed } = speak(
      `POST /2015-03-31/functions HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\nContent-Length: 100000000\r\n\r\n`,
      'x'.repeat(1000),
    )
    await once(socket, 'data')
    expect(performance.now() - from).toBeLessThan(1000)
    expect(statuses(await closed)).toEqual([403])
  })

  it('is refused over its limit, to the byte, naming it', async () => {
    expect(statuses(await send(1024))).toEqual([201])
    const seen = await send(1025)
    expect(statuses(seen)).toEqual([413])
    expect(seen).toContain('limits.requestBytes')
  })
})

it('paths that are no UTF-8 are refused, not a fault of ours', async () => {
  const seen = await speak(`GET /2015-03-31/functions/%ff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`).closed
  expect(statuses(seen)).toEqual([400])
  expect(seen).toContain('x-amzn-errortype')
})

it('strangers learn nothing but that they are', async () => {
  for (const path of [
    '/2015-03-31/functions',
    '/2015-03-31/functions/f',
    '/forkyard/v1/status',
    '/forkyard/v1/functions/f/logs',
  ])
    expect((await fetch(`${gateway.url}${path}`)).status).toBe(403)
  expect((await fetch(`${gateway.url}/nothing/here`)).status).toBe(404)
})

it('health and metrics are open', async () => {
  expect(await (await fetch(`${gateway.url}/readyz`)).json()).toEqual({ status: 'ready' })
  await gateway.client().send(new ListFunctionsCommand({}))
  expect(await (await fetch(`${gateway.url}/metrics`)).text()).toContain(
    'forkyard_gateway_requests_total{operation="ListFunctions",status="200"}',
  )
})
