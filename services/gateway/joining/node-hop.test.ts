/** The port for calls, as machines and nodes that joined see it, and as a function's request cannot. */
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { PlatformError } from '../../contracts/errors.ts'
import { hopHeader, joinPath, refreshPath } from '../../contracts/joining.ts'
import { protocolHeaders } from '../../contracts/protocol.ts'
import { startCallServer, type CallServer } from '../calls/call-server.ts'
import { createNodeHop } from './node-hop.ts'

const token = 'c'.repeat(32)
const own = 'Bearer y_a.own'
const said = { nodeId: 'y_a', agent: {} }
const body = { tokenId: '0'.repeat(16), secret: '1'.repeat(64), name: 'a', url: 'http://192.0.2.1:1' }

let server: CallServer
let seen: unknown[]
let refuse: boolean

beforeEach(async () => {
  ;[seen, refuse] = [[], false]
  const joining = {
    join: async (asked: unknown) => {
      seen.push(asked)
      if (refuse) throw new PlatformError('FORBIDDEN', 'no')
      return said
    },
    refresh: async (shown: string | undefined, asked: unknown) => {
      seen.push([shown, asked])
      return said
    },
  }
  const hop = {
    isNode: (shown: string | undefined) => shown === own,
    handle: createNodeHop(joining, pino({ level: 'silent' })),
  }
  const listen = { host: '127.0.0.1', port: 0 }
  server = await startCallServer(
    { listen, url: 'http://g', token },
    5_000,
    (_request, response) => response.end('a call'),
    hop,
  )
})
afterEach(async () => {
  await server.close(0)
})

const ask = async (path: string, headers: OutgoingHttpHeaders, content = '', method = 'POST') => {
  const sent = httpRequest({
    host: '127.0.0.1',
    port: server.port,
    path,
    method,
    agent: false,
    headers: { ...protocolHeaders, ...headers },
  })
  const reply = await new Promise<IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve).once('error', reject).end(content)
  })
  return { status: reply.statusCode, said: await text(reply) }
}
const asNode = { [hopHeader.name]: hopHeader.value }

it('a machine joins without a token of the hop, a node asks with its own', async () => {
  expect(await ask(joinPath, asNode, JSON.stringify(body))).toEqual({ status: 200, said: JSON.stringify(said) })
  expect((await ask(refreshPath, { ...asNode, 'proxy-authorization': own }, '{}')).status).toBe(200)
  expect(seen).toEqual([body, [own, {}]])
})

it.each([
  ['no JSON', '{', 400],
  ['another member', JSON.stringify({ ...body, admin: true }), 400],
  ['a name that would be another subject', JSON.stringify({ ...body, name: 'a.*' }), 400],
  ['a body without end', `{"a":"${'x'.repeat(20_000)}"}`, 413],
])('%s is refused before anything is looked at', async (_what, content, status) => {
  expect((await ask(joinPath, asNode, content)).status).toBe(status)
  expect(seen).toEqual([])
})

it('what is neither is none', async () => {
  expect((await ask('/v1/nodes/other', asNode, '{}')).status).toBe(404)
  expect((await ask(joinPath, asNode, '', 'GET')).status).toBe(404)
})

it('a request of a function at the same path is a call: the header is the platform’s, and stripped from what functions send', async () => {
  expect(await ask(joinPath, { 'proxy-authorization': `Bearer ${token}` }, JSON.stringify(body))).toMatchObject({
    said: 'a call',
  })
  expect(seen).toEqual([])
})

it('calls are brought by nodes that joined too, and by nobody else', async () => {
  expect(await ask('/p', { 'proxy-authorization': own })).toMatchObject({ said: 'a call' })
  expect((await ask('/p', { 'proxy-authorization': 'Bearer y_b.other' })).status).toBe(403)
  expect((await ask('/p', {})).status).toBe(403)
})

it('whoever is refused again and again waits', async () => {
  refuse = true
  const statuses = []
  for (let n = 0; n < 12; n++) statuses.push((await ask(joinPath, asNode, JSON.stringify(body))).status)
  expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 403))
  expect(statuses.slice(10)).toEqual([429, 429])
  // Nodes that have joined are not held up by that.
  expect((await ask(refreshPath, { ...asNode, 'proxy-authorization': own }, '{}')).status).toBe(200)
})
