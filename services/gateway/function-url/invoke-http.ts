/** A request over HTTP as an invocation: its head in a prelude, its body streamed on. For function URLs, and for functions that call functions. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { latest } from '../../contracts/function.ts'
import type { HttpPrelude } from '../../contracts/node.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Invoked } from '../invoke/invoker.ts'
import type { BodyLimit } from '../invoke/replayable-body.ts'
import { resolveVersion } from '../resolve.ts'
import { bodyFor } from './request-body.ts'

export interface HttpInvocation {
  readonly request: IncomingMessage
  /** When it closes, nobody waits for the answer any more. */
  readonly response: ServerResponse
  readonly requestId: string
  readonly target: { readonly tenant: string; readonly name: string; readonly qualifier: string }
  /** What the handler sees of where the request comes from. */
  readonly from: Pick<HttpPrelude, 'headers' | 'urlId' | 'sourceIp' | 'principal' | 'account' | 'caller'>
  /** The body, where it had to be read for a signature. */
  readonly whole?: Buffer | undefined
  /** The answer's bytes as they come. */
  readonly streamed: boolean
  readonly traceparent: string
  /** Calls of functions that led to this one. */
  readonly hops?: number
}

export const bodyLimit = ({ config }: Pick<GatewayDeps, 'config'>): BodyLimit => ({
  key: 'limits.urlBodyBytes',
  bytes: config.limits.urlBodyBytes,
})

/** Resolves when the reply begins. @throws PlatformError as `Invoker`, and REQUEST_TOO_LARGE */
export const invokeHttp = (deps: GatewayDeps, invocation: HttpInvocation): Promise<Invoked> => {
  const { request, response, requestId, target, from, whole, streamed, traceparent, hops } = invocation
  const { registry, config } = deps
  const { tenant, name, qualifier } = target
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  // The share of an alias is drawn once: another placement stays with the same version.
  const random = Math.random()
  const prelude: HttpPrelude = {
    method: request.method ?? 'GET',
    target: request.url ?? '/',
    host: request.headers.host ?? '',
    protocol: `HTTP/${request.httpVersion}`,
    receivedAt: Date.now(),
    ...from,
  }
  return deps.invoker.invoke({
    invocationId: requestId,
    attempt: 1,
    resolve: () => resolveVersion(registry, config.region, registry.get(tenant, name, qualifier), qualifier, random),
    qualifier: qualifier === latest ? undefined : qualifier,
    kind: 'http',
    responseMode: streamed ? 'stream' : 'buffered',
    ...bodyFor(request, prelude, whole, bodyLimit(deps)),
    startWish: 'auto',
    traceparent,
    hops,
    signal: gone.signal,
  })
}
