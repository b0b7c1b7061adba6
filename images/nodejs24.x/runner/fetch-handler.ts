/** Web-standard `fetch(request)` handlers: HTTP requests stream in, responses stream out; direct invocations use payload 2.0. */
import type { Readable } from 'node:stream'
import { errorBody, RuntimeError } from './error-body.ts'
import { rejectWhenLoopIsEmpty } from './event-loop.ts'
import { lambdaContext, parseEvent, type Invocation, type LambdaContext } from './invocation.ts'
import { toJson } from './lambda-handler.ts'
import { httpResponseType } from './runtime-api.ts'
import { httpPrelude, type HttpResponseMetadata } from './streaming-handler.ts'
import { readHttpRequest, requestFromEvent, requestFromHttp } from './web-request.ts'

export type FetchHandler = (request: Request, context: LambdaContext) => Response | Promise<Response>

/** So long before the sandbox is ended, the handler is told. */
const warnMs = 50
/** Statuses whose response has no body whatever the handler made. */
const bodiless = new Set([204, 205, 304])

export const serveFetch =
  (handler: FetchHandler) =>
  async (invocation: Invocation): Promise<void> => {
    const abort = new AbortController()
    const remaining = Math.max(0, invocation.deadlineMs - warnMs - Date.now())
    const timer = setTimeout(
      () => abort.abort(new DOMException('The function is about to time out', 'TimeoutError')),
      Math.min(remaining, 0x7fffffff),
    ).unref()
    try {
      const respond = Buffer.isBuffer(invocation.body) ? answerEvent : answerHttp
      await respond(invocation, abort, async (request) => {
        const response = await rejectWhenLoopIsEmpty(async () => handler(request, lambdaContext(invocation)))
        if (response instanceof Response) return response
        throw new RuntimeError(
          'Runtime.InvalidResponse',
          `the fetch handler returned ${typeof response}, not a Response`,
        )
      })
    } finally {
      clearTimeout(timer)
    }
  }

type Call = (request: Request) => Promise<Response>

const metadataOf = ({ status, headers }: Response): HttpResponseMetadata => {
  const { 'set-cookie': _cookies, ...others } = Object.fromEntries(headers)
  return { statusCode: status, headers: others, cookies: headers.getSetCookie() }
}

const answerHttp = async (invocation: Invocation, abort: AbortController, call: Call): Promise<void> => {
  const http = await readHttpRequest(invocation.body as Readable)
  const response = await call(requestFromHttp(http, abort.signal))
  const { api, requestId } = invocation
  const prelude = httpPrelude(metadataOf(response))
  const empty = http.prelude.method === 'HEAD' || bodiless.has(response.status) || !response.body
  if (empty) {
    await response.body?.cancel()
    return api.respond(requestId, httpResponseType, prelude)
  }
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  const first = await rejectWhenLoopIsEmpty(async () => reader.read())
  const second = first.done ? undefined : reader.read()
  second?.catch(() => undefined)
  // Most responses are one piece that is here already; those go in one write.
  if (first.done || (await endsAtOnce(second)))
    return api.respond(requestId, httpResponseType, Buffer.concat([prelude, first.value ?? Buffer.alloc(0)]))
  await streamBody(invocation, abort, prelude, reader, first.value, second as Promise<ReadResult>)
}

/** A source that does not want to be cancelled is left alone. */
const cancel = (reader: ReadableStreamDefaultReader<Uint8Array>, reason: unknown): void => {
  reader.cancel(reason).catch(() => undefined)
}

type ReadResult = Awaited<ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']>>

const endsAtOnce = async (read: Promise<ReadResult> | undefined): Promise<boolean> => {
  const turn = new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)))
  return (await Promise.race([read, turn]).catch(() => undefined))?.done === true
}

const streamBody = async (
  { api, requestId }: Invocation,
  abort: AbortController,
  prelude: Buffer,
  reader: ReadableStreamDefaultReader<Uint8Array>,
  first: Uint8Array,
  second: Promise<ReadResult>,
): Promise<void> => {
  const answer = api.openAnswer(requestId)
  answer.setContentType(httpResponseType)
  answer.setPrelude(prelude)
  // The caller is gone, or the answer is too long: the handler need not go on.
  answer.on('error', (error) => {
    abort.abort(error)
    cancel(reader, error)
  })
  const write = (bytes: Uint8Array): Promise<void> | undefined =>
    answer.write(bytes) || answer.destroyed
      ? undefined
      : new Promise((resolve) => {
          const settle = () => {
            answer.off('drain', settle).off('close', settle)
            resolve()
          }
          answer.on('drain', settle).on('close', settle)
        })
  try {
    await write(first)
    const next = async (read: () => Promise<ReadResult>) => rejectWhenLoopIsEmpty(read)
    let read = await next(async () => second)
    for (; !read.done && !answer.destroyed; read = await next(async () => reader.read())) await write(read.value)
    answer.end()
  } catch (error) {
    answer.endWithError(errorBody(error))
  }
  await answer.taken()
}

const textTypes = /^(text\/.*|application\/(json|xml|javascript|x-www-form-urlencoded|.*\+(json|xml)))$/i

const answerEvent = async (invocation: Invocation, abort: AbortController, call: Call): Promise<void> => {
  const response = await call(requestFromEvent(parseEvent(invocation.body as Buffer), abort.signal))
  const bytes = Buffer.from(await rejectWhenLoopIsEmpty(async () => response.arrayBuffer()))
  const { statusCode, headers, cookies } = metadataOf(response)
  const type = response.headers.get('content-type')?.split(';')[0]?.trim() ?? ''
  const text = bytes.length === 0 || (textTypes.test(type) && !response.headers.has('content-encoding'))
  const answer = {
    statusCode,
    headers,
    ...(cookies && cookies.length > 0 ? { cookies } : {}),
    body: bytes.toString(text ? 'utf8' : 'base64'),
    isBase64Encoded: !text,
  }
  await invocation.api.respond(invocation.requestId, 'application/json', toJson(answer))
}
