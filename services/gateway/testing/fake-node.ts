/** A node gateway that answers as it is told to. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { replyHeaders } from '../../contracts/node.ts'
import { preludeDelimiter } from '../../contracts/node.ts'
import type { InvocationReport } from '../../contracts/usage.ts'

export interface NodeCall {
  readonly invocationId: string
  readonly headers: IncomingMessage['headers']
  /** Reads it to its end. */
  readonly body: () => Promise<Buffer>
  readonly request: IncomingMessage
  readonly response: ServerResponse
}
export type NodeAnswer = (call: NodeCall) => Promise<void> | void

export interface FakeNode {
  readonly url: string
  readonly calls: NodeCall[]
  answer: NodeAnswer
  close(): Promise<void>
}

export const startFakeNode = async (): Promise<FakeNode> => {
  const calls: NodeCall[] = []
  const server = createServer((request, response) => {
    // As agents of before there were liveness links.
    if (request.headers.upgrade !== undefined) {
      response.writeHead(404).end()
      return
    }
    const invocationId = request.url?.split('/').at(-1) ?? ''
    const call = { invocationId, headers: request.headers, body: () => buffer(request), request, response }
    calls.push(call)
    void Promise.resolve(node.answer(call)).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const node: FakeNode = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    answer: (call) => answerWhole(call, Buffer.from('null')),
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return node
}

export const reportOf = (invocationId: string, more: Partial<InvocationReport> = {}): InvocationReport => ({
  invocationId,
  instanceId: 'i-1',
  nodeId: 'n-1',
  startType: 'restore',
  outcome: 'ok',
  durationMs: 5,
  billedMs: 5,
  memoryMiB: 128,
  maxMemoryMiB: 40,
  phases: [
    { name: 'queue', startMs: 0, durationMs: 2 },
    { name: 'handler', startMs: 2, durationMs: 5 },
  ],
  logTail: Buffer.from('REPORT').toString('base64'),
  ...more,
})

export interface AnswerOptions {
  readonly contentType?: string
  readonly functionError?: string
  readonly report?: Partial<InvocationReport>
}

export const encodeReport = (report: InvocationReport): string => Buffer.from(JSON.stringify(report)).toString('base64')

/** As the node answers in buffered mode. */
export const answerWhole = async (call: NodeCall, body: Buffer, options: AnswerOptions = {}): Promise<void> => {
  await call.body()
  call.response
    .writeHead(200, {
      'content-type': options.contentType ?? 'application/json',
      'content-length': body.length,
      [replyHeaders.report]: encodeReport(reportOf(call.invocationId, options.report)),
      ...(options.functionError ? { [replyHeaders.functionError]: options.functionError } : {}),
    })
    .end(body)
}

/** As the node answers in stream mode; `error` is told in the trailer. */
export const answerStream = async (
  call: NodeCall,
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  options: AnswerOptions = {},
): Promise<void> => {
  call.response.writeHead(200, {
    'content-type': options.contentType ?? 'application/octet-stream',
    trailer: `${replyHeaders.report}, ${replyHeaders.functionError}`,
  })
  call.response.flushHeaders()
  for await (const chunk of chunks)
    if (!call.response.write(chunk)) await new Promise((resolve) => call.response.once('drain', resolve))
  call.response.addTrailers({
    [replyHeaders.report]: encodeReport(reportOf(call.invocationId, options.report)),
    ...(options.functionError ? { [replyHeaders.functionError]: options.functionError } : {}),
  })
  call.response.end()
}

export const answerError = (call: NodeCall, status: number, code: string): void => {
  call.response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ code, message: code }))
}

/** An HTTP answer of a function: prelude, delimiter, body. */
export const httpAnswer = (prelude: unknown, body: Buffer | string = ''): Buffer =>
  Buffer.concat([Buffer.from(JSON.stringify(prelude)), preludeDelimiter, Buffer.from(body)])
