/** Which kind of handler an export is. */
import { serveCloudEvent, type CloudEventHandler } from './cloud-event-handler.ts'
import { RuntimeError } from './error-body.ts'
import { serveFetch, type FetchHandler } from './fetch-handler.ts'
import type { Loaded } from './handler-loader.ts'
import type { Invocation } from './invocation.ts'
import { serveLambda, type LambdaHandler } from './lambda-handler.ts'
import type { HandlerKind } from './runtime-api.ts'
import { isStreaming, serveStreaming, type StreamingHandler } from './streaming-handler.ts'

export interface Served {
  readonly kind: HandlerKind
  /** Answers the invocation. @throws what the handler threw, when nothing was answered. */
  readonly serve: (invocation: Invocation) => Promise<void>
}

/** An object with a `fetch` method, or an export called `fetch`, is a Web handler; `cloudEvent` takes CloudEvents. */
export const serveKind = async ({ value, owner, exportName }: Loaded, handler: string): Promise<Served> => {
  const method = typeof value === 'object' && value !== null ? (value as { fetch?: unknown }).fetch : undefined
  if (typeof method === 'function') return { kind: 'fetch', serve: serveFetch(method.bind(value) as FetchHandler) }
  if (typeof value !== 'function')
    throw new RuntimeError('Runtime.HandlerNotFound', `${handler} is not a function, nor an object with a fetch method`)
  if (isStreaming(value)) return { kind: 'lambda', serve: serveStreaming(value as StreamingHandler) }
  const bound = value.bind(owner) as unknown
  if (exportName === 'fetch') return { kind: 'fetch', serve: serveFetch(bound as FetchHandler) }
  if (exportName === 'cloudEvent')
    return { kind: 'cloudevent', serve: await serveCloudEvent(bound as CloudEventHandler) }
  return { kind: 'lambda', serve: serveLambda(bound as LambdaHandler) }
}
