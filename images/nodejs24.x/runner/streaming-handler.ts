/** `awslambda.streamifyResponse` and `awslambda.HttpResponseStream`, as Lambda's Node.js runtime offers them. */
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { AnswerStream } from './answer-stream.ts'
import { errorBody } from './error-body.ts'
import { rejectWhenLoopIsEmpty, whenLoopIsEmpty } from './event-loop.ts'
import { lambdaContext, parseEvent, type Invocation, type LambdaContext } from './invocation.ts'
import { httpResponseType } from './runtime-api.ts'

/** Lambda's own mark, so that wrappers that know it (middleware libraries) keep working. */
const streamingMark = Symbol.for('aws.lambda.runtime.handler.streaming')
const delimiter = Buffer.alloc(8)

export type StreamingHandler = (event: unknown, stream: Writable, context: LambdaContext) => unknown

export interface HttpResponseMetadata {
  readonly statusCode?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly cookies?: readonly string[]
}

export const isStreaming = (value: unknown): boolean =>
  typeof value === 'function' && (value as { [streamingMark]?: unknown })[streamingMark] !== undefined

const streamifyResponse = (handler: StreamingHandler): StreamingHandler =>
  Object.assign(handler, { [streamingMark]: 'response' })

/** JSON, 8 NUL bytes: what an HTTP answer begins with. */
export const httpPrelude = (metadata: HttpResponseMetadata): Buffer =>
  Buffer.concat([Buffer.from(JSON.stringify(metadata)), delimiter])

const HttpResponseStream = {
  /** The same stream, which begins with the status, headers and cookies. */
  from(stream: AnswerStream, metadata: HttpResponseMetadata): AnswerStream {
    stream.setContentType(httpResponseType)
    stream.setPrelude(httpPrelude(metadata))
    return stream
  },
}

export const defineGlobals = (): void => {
  Object.assign(globalThis, { awslambda: { streamifyResponse, HttpResponseStream } })
}

export const serveStreaming =
  (handler: StreamingHandler) =>
  async (invocation: Invocation): Promise<void> => {
    const stream = invocation.api.openAnswer(invocation.requestId)
    const done = finished(stream, { readable: false })
    done.catch(() => undefined)
    try {
      const event = parseEvent(invocation.body as Buffer)
      await rejectWhenLoopIsEmpty(async () => handler(event, stream, lambdaContext(invocation)))
      // A handler may return while something still writes to the stream; when nothing can any more, that was all.
      const forget = whenLoopIsEmpty(() => stream.end())
      await done.finally(forget)
    } catch (error) {
      // Before the first byte it is an ordinary error.
      if (!stream.begun) throw error
      stream.endWithError(errorBody(error))
    }
    await stream.taken()
  }
