/** A node gateway for tests of the runtimes: the Runtime API over a Unix socket, and the answers as they arrived. */
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Assignment } from '../../services/contracts/runtime-api.ts'

export interface Answer {
  readonly kind: 'response' | 'error'
  readonly headers: IncomingHttpHeaders
  readonly trailers: NodeJS.Dict<string>
  readonly body: Buffer
}

export interface FakeInvocation {
  readonly id: string
  readonly body: Buffer | Readable
  readonly headers: Readonly<Record<string, string>>
  /** Sees the answer as it arrives; its body is read once this resolves. */
  readonly onAnswer?: (request: IncomingMessage) => void | Promise<void>
}

export interface FakeNode {
  readonly dir: string
  readonly socketPath: string
  /** Kinds that `next` asked with, in order. */
  readonly kinds: string[]
  /** `next` polls that are open. */
  openPolls(): number
  readonly initError: Promise<unknown>
  assign(assignment: Partial<Assignment>): void
  invoke(body: unknown, options?: Partial<FakeInvocation>): Promise<Answer>
  close(): Promise<void>
}

const deferred = <T>() => {
  const made = Promise.withResolvers<T>()
  made.promise.catch(() => undefined)
  return made
}

/** @param given the socket's path, in a directory of the caller's. */
export const startFakeNode = async (given?: string): Promise<FakeNode> => {
  const dir = given === undefined ? mkdtempSync(join(tmpdir(), 'fy-runtime-')) : dirname(given)
  const socketPath = given ?? join(dir, 'api.sock')
  const assignment = deferred<Assignment>()
  const initError = deferred<unknown>()
  const kinds: string[] = []
  const polls: ServerResponse[] = []
  const waiting: FakeInvocation[] = []
  const pending = new Map<string, { invocation: FakeInvocation; answer: PromiseWithResolvers<Answer> }>()

  const handOver = (): void => {
    while (polls.length > 0 && waiting.length > 0) {
      const [response, { id, body, headers }] = [polls.shift(), waiting.shift()] as [ServerResponse, FakeInvocation]
      response.writeHead(200, {
        'Lambda-Runtime-Aws-Request-Id': id,
        'Lambda-Runtime-Deadline-Ms': String(Date.now() + 30_000),
        'Lambda-Runtime-Invoked-Function-Arn': 'arn:aws:lambda:us-east-1:000000000000:function:f',
        'content-type': 'application/json',
        ...(Buffer.isBuffer(body) ? { 'content-length': body.length } : {}),
        ...headers,
      })
      if (Buffer.isBuffer(body)) response.end(body)
      else body.on('error', () => response.destroy()).pipe(response)
    }
  }

  const take = async (request: IncomingMessage, response: ServerResponse, id: string, kind: Answer['kind']) => {
    const found = pending.get(id)
    if (!found) return response.writeHead(400).end()
    await found.invocation.onAnswer?.(request)
    const body = await buffer(request)
    pending.delete(id)
    found.answer.resolve({ kind, headers: request.headers, trailers: request.trailers, body })
    return response.writeHead(202).end('{"status":"OK"}')
  }

  const route = async (request: IncomingMessage, response: ServerResponse): Promise<unknown> => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://node')
    if (pathname === '/forkyard/v1/assignment') {
      const made = await assignment.promise
      const environ = Object.entries(made.environment).map(([name, value]) => `${name}=${value}\0`)
      const text = searchParams.get('format') === 'environ' ? environ.join('') : JSON.stringify(made)
      return response.writeHead(200, { 'content-length': Buffer.byteLength(text) }).end(text)
    }
    if (pathname.endsWith('/invocation/next')) {
      kinds.push(String(request.headers['forkyard-handler-kind'] ?? 'lambda'))
      polls.push(response)
      response.once('close', () => {
        if (polls.includes(response)) polls.splice(polls.indexOf(response), 1)
      })
      return handOver()
    }
    if (pathname.endsWith('/init/error')) {
      initError.resolve(JSON.parse((await buffer(request)).toString()))
      return response.writeHead(202).end('{"status":"OK"}')
    }
    const [, id = '', kind] = /invocation\/([^/]+)\/(response|error)$/.exec(pathname) ?? []
    return kind ? take(request, response, id, kind as Answer['kind']) : response.writeHead(404).end()
  }

  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    // A runtime that dies in the middle of its answer; the test looks at its exit.
    route(request, response).catch(() => response.destroy())
  })
  server.listen(socketPath)
  await once(server, 'listening')
  return {
    dir,
    socketPath,
    kinds,
    openPolls: () => polls.length,
    initError: initError.promise,
    assign: (assigned) =>
      assignment.resolve({
        instanceId: 'instance',
        handler: 'index.handler',
        concurrency: 1,
        startType: 'boot',
        entropy: randomBytes(32).toString('base64'),
        ...assigned,
        environment: { LAMBDA_TASK_ROOT: dir, PATH: process.env['PATH'] ?? '', ...assigned.environment },
      }),
    invoke: (body, options) => {
      const bytes = Buffer.isBuffer(body) || body instanceof Readable ? body : Buffer.from(JSON.stringify(body))
      const invocation: FakeInvocation = { id: randomUUID(), body: bytes, headers: {}, ...options }
      const answer = deferred<Answer>()
      pending.set(invocation.id, { invocation, answer })
      waiting.push(invocation)
      handOver()
      return answer.promise
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      if (given === undefined) rmSync(dir, { recursive: true, force: true })
    },
  }
}
