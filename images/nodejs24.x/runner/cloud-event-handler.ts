/** CloudEvents handlers: structured, binary and batched content over HTTP, structured JSON (one event or a batch) when invoked. */
import { buffer } from 'node:stream/consumers'
import type { CloudEvent } from 'cloudevents'
import { RuntimeError } from './error-body.ts'
import { rejectWhenLoopIsEmpty } from './event-loop.ts'
import { lambdaContext, parseEvent, type Invocation, type LambdaContext } from './invocation.ts'
import { toJson } from './lambda-handler.ts'
import { httpResponseType } from './runtime-api.ts'
import { httpPrelude } from './streaming-handler.ts'
import { readHttpRequest } from './web-request.ts'
import type { Readable } from 'node:stream'

export type CloudEventHandler = (event: CloudEvent, context: LambdaContext) => unknown
type Library = typeof import('cloudevents')

/** Only functions that take CloudEvents pay for its schema compiler. */
const loadLibrary = async (): Promise<Library> => import('cloudevents')

export const serveCloudEvent = async (handler: CloudEventHandler) => {
  const library = await loadLibrary()
  return async (invocation: Invocation): Promise<void> => {
    const call = async (event: CloudEvent) =>
      rejectWhenLoopIsEmpty(async () => handler(event, lambdaContext(invocation)))
    if (Buffer.isBuffer(invocation.body)) await answerEvent(library, invocation, call)
    else await answerHttp(library, invocation, call)
  }
}

type Call = (event: CloudEvent) => Promise<unknown>

const invalid = (error: unknown): RuntimeError =>
  new RuntimeError('Runtime.InvalidCloudEvent', error instanceof Error ? error.message : String(error), {
    cause: error,
  })

const parse = ({ HTTP }: Library, headers: Record<string, string>, body: string): readonly CloudEvent[] => {
  try {
    const parsed = HTTP.toEvent({ headers, body })
    const events = (Array.isArray(parsed) ? parsed : [parsed]) as CloudEvent[]
    for (const event of events) event.validate()
    return events
  } catch (error) {
    throw invalid(error)
  }
}

/** One after the other: events of a batch may depend on each other. */
const callAll = async (events: readonly CloudEvent[], call: Call): Promise<unknown[]> => {
  const results: unknown[] = []
  for (const event of events) results.push(await call(event))
  return results
}

const answerEvent = async (library: Library, invocation: Invocation, call: Call): Promise<void> => {
  const event = parseEvent(invocation.body as Buffer)
  const batch = Array.isArray(event)
  const type = batch ? 'application/cloudevents-batch+json' : 'application/cloudevents+json'
  const results = await callAll(parse(library, { 'content-type': type }, JSON.stringify(event)), call)
  await invocation.api.respond(invocation.requestId, 'application/json', toJson(batch ? results : results[0]))
}

const answerHttp = async (library: Library, invocation: Invocation, call: Call): Promise<void> => {
  const { prelude, body } = await readHttpRequest(invocation.body as Readable)
  const headers = Object.fromEntries(prelude.headers)
  const send = (status: number, fields: Record<string, string>, text: string) =>
    invocation.api.respond(
      invocation.requestId,
      httpResponseType,
      Buffer.concat([httpPrelude({ statusCode: status, headers: fields, cookies: [] }), Buffer.from(text)]),
    )
  const json = { 'content-type': 'application/json' }
  let events: readonly CloudEvent[]
  try {
    events = parse(library, headers, (await buffer(body)).toString('utf8'))
  } catch (error) {
    return send(400, json, JSON.stringify({ message: error instanceof Error ? error.message : String(error) }))
  }
  const results = await callAll(events, call)
  if (headers['content-type']?.startsWith('application/cloudevents-batch')) return send(200, json, toJson(results))
  const [result] = results
  if (result === undefined) return send(204, {}, '')
  if (!(result instanceof library.CloudEvent)) return send(200, json, toJson(result))
  const message = library.HTTP.binary(result)
  const fields = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)]))
  return send(200, fields, typeof message.body === 'string' ? message.body : toJson(message.body))
}
