import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { Connection } from './connection.ts'
import { RuntimeApi } from './runtime-api.ts'

/** A node of which the test says what it answers; resolves to its socket and the number of connections that were made to it. */
const nodeThat = async (answer: (request: IncomingMessage, response: ServerResponse) => void) => {
  const directory = mkdtempSync(join(tmpdir(), 'forkyard-connection-'))
  const socketPath = join(directory, 'api.sock')
  let connections = 0
  const server = createServer(answer).on('connection', () => connections++)
  server.listen(socketPath)
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
    rmSync(directory, { recursive: true })
  })
  return { socketPath, connections: () => connections }
}

test('a body that nobody reads does not hold up the next reply', async () => {
  const { socketPath } = await nodeThat((request, response) =>
    response.end(request.url === '/long' ? 'x'.repeat(100_000) : 'next'),
  )
  const connection = new Connection(socketPath)
  onTestFinished(() => connection.destroy())
  const { body } = await connection.request('GET /long HTTP/1.1\r\nHost: x\r\n\r\n', '', () => 'stream')
  while (!connection.idle) await new Promise(setImmediate)
  const next = await connection.request('GET /next HTTP/1.1\r\nHost: x\r\n\r\n')
  expect((next.body as Buffer).toString()).toBe('next')
  expect(await text(body as Readable)).toHaveLength(100_000)
})

test('an event is pulled and answered on one connection', async () => {
  const { socketPath, connections } = await nodeThat((request, response) => {
    if (request.method === 'POST') request.resume().on('end', () => response.writeHead(202).end('{}'))
    else response.end('{}')
  })
  const api = new RuntimeApi(socketPath)
  onTestFinished(() => api.close())
  for (let invocation = 0; invocation < 3; invocation++) {
    await api.next('lambda')
    await api.respond(String(invocation), 'application/json', '"answer"')
  }
  expect(connections()).toBe(1)
})
