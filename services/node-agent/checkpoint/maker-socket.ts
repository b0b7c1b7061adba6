/**
 * The node's end of a sandbox in which a checkpoint is made or tested: it is given its assignment, may be given one invocation, and
 * what it says is for the maker alone. Nothing of it is metered, buffered or logged as an instance's.
 */
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import type { Assignment } from '../../contracts/runtime-api.ts'

/** What a runtime says before it waits to be saved. */
export const SaveReport = Type.Object({
  /** Why it must not be. */
  refused: Type.Optional(Type.String()),
  /** What clones may come to share. */
  warnings: Type.Array(Type.String(), { maxItems: 20 }),
  /** How long the function took to be initialised, hooks left out. */
  initMs: Type.Number(),
})
export type SaveReport = Static<typeof SaveReport>

export interface MakerSocket {
  /** Rejects with what the function or the runtime reported instead. */
  readonly report: Promise<SaveReport>
  /** Of the one invocation. Rejects in the same cases. */
  readonly answer: Promise<unknown>
  close(): void
}

/** The initialisation or the invocation failed; the message is the function's. */
export class InitError extends Error {
  override readonly name = 'InitError'
}

const invocationMs = 60_000
const bodyLimit = 1024 * 1024

export const serveMaker = async (socketPath: string, assignment: Assignment): Promise<MakerSocket> => {
  const report = Promise.withResolvers<SaveReport>()
  const answer = Promise.withResolvers<unknown>()
  for (const { promise } of [report, answer]) promise.catch(() => undefined)
  const fail = (error: Error): void => {
    report.reject(error)
    answer.reject(error)
  }
  const take = async (request: IncomingMessage): Promise<void> => {
    if (Number(request.headers['content-length'] ?? Infinity) > bodyLimit) throw new InitError('too much was said')
    const body = await text(request)
    if (request.url === '/forkyard/v1/checkpoint') report.resolve(Value.Parse(SaveReport, JSON.parse(body)))
    else if (request.url?.endsWith('/response')) answer.resolve(JSON.parse(body))
    else fail(new InitError(body.slice(0, 1000)))
  }
  let given = false
  const server = createServer((request, response) => {
    const url = request.url ?? ''
    if (url.startsWith('/forkyard/v1/assignment')) {
      const environ = Object.entries(assignment.environment).map(([name, value]) => `${name}=${value}\0`)
      response.end(url.includes('format=environ') ? environ.join('') : JSON.stringify(assignment))
    } else if (url.endsWith('/invocation/next')) {
      if (given) return
      given = true
      response.writeHead(200, {
        'content-type': 'application/json',
        'lambda-runtime-aws-request-id': assignment.instanceId,
        'lambda-runtime-deadline-ms': String(Date.now() + invocationMs),
      })
      response.end('{}')
    } else
      take(request).then(
        () => response.writeHead(202).end(),
        (error: unknown) => {
          fail(error instanceof Error ? error : new Error(String(error)))
          response.writeHead(400).end()
        },
      )
  })
  server.listen(socketPath)
  await once(server, 'listening')
  // The sandbox's user is not the maker's.
  chmodSync(socketPath, 0o777)
  return {
    report: report.promise,
    answer: answer.promise,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
