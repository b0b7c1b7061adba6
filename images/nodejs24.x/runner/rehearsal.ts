/**
 * The life of an instance once through, against a node that this process plays itself. V8 compiles a function when it is first
 * called, and Node.js sets up much on first use: done here it is in the checkpoint or in the seed, and no start pays for it. Leaves
 * nothing open.
 */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { makeUnique } from './clone.ts'
import { serveFetch } from './fetch-handler.ts'
import { loadHandler } from './handler-loader.ts'
import type { Served } from './handler-kind.ts'
import { serveLambda } from './lambda-handler.ts'
import { serveNext } from './poll-loop.ts'
import { RuntimeApi } from './runtime-api.ts'
import { serveStreaming } from './streaming-handler.ts'

/** More than one: the second call of a function goes other ways through V8 than the first. */
const rounds = 3

const handlers: readonly Served[] = [
  { kind: 'lambda', serve: serveLambda(async (event) => ({ event })) },
  { kind: 'fetch', serve: serveFetch(async (request) => new Response(await request.text())) },
  {
    kind: 'lambda',
    serve: serveStreaming(async (_event, stream) => stream.end('text')),
  },
]

/** @param socketPath a free path for the part of the node. */
export const rehearse = async (socketPath: string): Promise<void> => {
  const connections = new Set<Socket>()
  const server = await playNode(socketPath, connections)
  makeUnique(Buffer.alloc(32))
  const assigned = new RuntimeApi(socketPath)
  await assigned.assignment()
  assigned.close()
  await loadHandler(import.meta.dirname, 'warm-up.handler')
  for (const served of handlers) {
    const api = new RuntimeApi(socketPath)
    for (let round = 0; round < rounds; round++) await serveNext(api, served, true)
    api.close()
  }
  for (const connection of connections) connection.destroy()
  server.close()
  await once(server, 'close')
  // Handles are closed in the turn after.
  await turn()
}

const reply = (status: string, headers: string, body: string): string =>
  `HTTP/1.1 ${status}\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`

const invocation = (): string => {
  const headers =
    'Content-Type: application/json\r\n' +
    'Lambda-Runtime-Aws-Request-Id: 00000000-0000-0000-0000-000000000000\r\n' +
    `Lambda-Runtime-Deadline-Ms: ${Date.now() + 60_000}\r\n` +
    'Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:rehearsal\r\n'
  return reply('200 OK', headers, '{"a":[1,"b"]}')
}

/** Answers what is asked; a request of this process comes in one piece. */
const playNode = async (socketPath: string, connections: Set<Socket>): Promise<Server> => {
  const server = createServer((socket) => {
    connections.add(socket)
    socket.on('error', () => undefined)
    let request = ''
    socket.setEncoding('latin1').on('data', (piece) => {
      request = /^[A-Z]+ \//.test(String(piece)) ? String(piece) : request + String(piece)
      if (request.startsWith('GET /forkyard/'))
        socket.write(reply('200 OK', 'Content-Type: application/json\r\n', '{"environment":{},"entropy":""}'))
      else if (request.startsWith('GET ')) socket.write(invocation())
      // A streamed answer comes in several pieces, and ends with an empty chunk.
      else if (!/^transfer-encoding:/im.test(request) || request.endsWith('\r\n0\r\n\r\n')) socket.write(accepted)
    })
  })
  server.listen(socketPath)
  await once(server, 'listening')
  return server
}

const accepted = reply('202 Accepted', 'Content-Type: application/json\r\n', '{"status":"OK"}')
