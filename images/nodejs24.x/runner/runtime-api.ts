/** The calls of the Lambda Runtime API, and Forkyard's assignment (services/contracts/runtime-api.ts). */
import type { Assignment } from '../../../services/contracts/runtime-api.ts'
import { AnswerStream } from './answer-stream.ts'
import { Connection, type Accept, type Reply } from './connection.ts'
import type { ErrorBody } from './error-body.ts'

export type HandlerKind = 'lambda' | 'fetch' | 'cloudevent'

export const httpRequestType = 'application/vnd.forkyard.http-request'
export const httpResponseType = 'application/vnd.awslambda.http-integration-response'

const base = '/2018-06-01/runtime'
const host = 'Host: node\r\n'

/** What the node is told before the process waits to be saved (services/node-agent/checkpoint/maker-socket.ts). */
export interface SaveReport {
  readonly refused?: string
  readonly warnings: readonly string[]
  readonly initMs: number
}

/** HTTP requests stream in; events come whole. */
const acceptNext: Accept = ({ headers }) => (headers.get('content-type') === httpRequestType ? 'stream' : 'whole')

export class RuntimeApiError extends Error {
  override readonly name = 'RuntimeApiError'
}

const expectStatus = (reply: Reply, wanted: number, call: string): Reply => {
  if (reply.status === wanted) return reply
  throw new RuntimeApiError(`${call}: ${reply.status} ${Buffer.isBuffer(reply.body) ? reply.body.toString() : ''}`)
}

/**
 * One of the `concurrency` slots: a connection on which the next request is awaited and, once it is whole, answered. An answer that
 * begins while its request's body is still coming in goes out on a second one.
 */
export class RuntimeApi {
  readonly #socketPath: string
  #pulls: Connection | undefined
  #answers: Connection | undefined

  constructor(socketPath: string) {
    this.#socketPath = socketPath
  }

  /** Long poll: answered when the instance has been given to a function. */
  async assignment(): Promise<Assignment> {
    const connection = this.#pullConnection()
    connection.setRef(true)
    const reply = await connection.request(`GET /forkyard/v1/assignment HTTP/1.1\r\n${host}\r\n`)
    connection.setRef(false)
    return JSON.parse((expectStatus(reply, 200, 'assignment').body as Buffer).toString('utf8')) as Assignment
  }

  /** Long poll for the next request. */
  async next(kind: HandlerKind): Promise<Reply> {
    const connection = this.#pullConnection()
    connection.setRef(true)
    const head = `GET ${base}/invocation/next HTTP/1.1\r\n${host}Forkyard-Handler-Kind: ${kind}\r\n\r\n`
    const reply = expectStatus(await connection.request(head, '', acceptNext), 200, 'next')
    // While the handler runs, only what the handler itself waits for keeps the process alive: its request's body does.
    if (Buffer.isBuffer(reply.body)) connection.setRef(false)
    else
      reply.body.once('close', () => {
        // By then the answer, or the next request, may be waited for on it.
        if (connection.idle) connection.setRef(false)
      })
    return reply
  }

  async respond(id: string, contentType: string, body: string | Buffer): Promise<void> {
    await this.#post(`${base}/invocation/${id}/response`, contentType, '', body)
  }

  async fail(id: string, error: ErrorBody): Promise<void> {
    await this.#post(`${base}/invocation/${id}/error`, 'application/json', errorHeader(error), JSON.stringify(error))
  }

  async saving(report: SaveReport): Promise<void> {
    await this.#post('/forkyard/v1/checkpoint', 'application/json', '', JSON.stringify(report))
  }

  async initFailed(error: ErrorBody): Promise<void> {
    await this.#post(`${base}/init/error`, 'application/json', errorHeader(error), JSON.stringify(error))
  }

  /** The request to the node begins with the first bytes that are written. */
  openAnswer(id: string): AnswerStream {
    return new AnswerStream(() => ({
      connection: this.#answerConnection(),
      head: `POST ${base}/invocation/${id}/response HTTP/1.1\r\n${host}${streamHeaders}`,
    }))
  }

  close(): void {
    this.#pulls?.destroy()
    this.#answers?.destroy()
  }

  async #post(path: string, contentType: string, extra: string, body: string | Buffer): Promise<void> {
    const connection = this.#answerConnection()
    connection.setRef(true)
    const head =
      `POST ${path} HTTP/1.1\r\n${host}Content-Type: ${contentType}\r\n${extra}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`
    const reply = await connection.request(head, body)
    connection.setRef(false)
    if (reply.status >= 500) expectStatus(reply, 202, path)
  }

  #pullConnection(): Connection {
    if (!this.#pulls?.idle) {
      this.#pulls?.destroy()
      this.#pulls = new Connection(this.#socketPath)
    }
    return this.#pulls
  }

  #answerConnection(): Connection {
    if (this.#pulls?.idle) return this.#pulls
    if (!this.#answers?.idle) {
      this.#answers?.destroy()
      this.#answers = new Connection(this.#socketPath)
    }
    return this.#answers
  }
}

const streamHeaders =
  'Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n' +
  'Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n'

const errorHeader = ({ errorType }: ErrorBody): string =>
  `Lambda-Runtime-Function-Error-Type: ${errorType.replaceAll(/[^\x20-\x7e]/g, '?')}\r\n`
