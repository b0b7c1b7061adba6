/** The parts of a request that Invoke and InvokeWithResponseStream share. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { PlatformError } from '../../contracts/errors.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import { StartWish, startWishes } from '../../contracts/placement.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Invocation } from '../invoke/invoker.ts'
import { checkPayload, takeClientContext } from '../invoke/payload.ts'
import { traceparentOf } from '../invoke/traceparent.ts'
import { findVersion, type Target } from '../lookup.ts'
import { resolveVersion } from '../resolve.ts'

const LogType = Type.Optional(Type.Enum(['None', 'Tail']))
const ClientContext = Type.Optional(Type.String())

export const invokeHeaders = (types: readonly string[]) =>
  Type.Object({
    'x-amz-invocation-type': Type.Optional(Type.Enum([...types])),
    'x-amz-log-type': LogType,
    'x-amz-client-context': ClientContext,
    'x-forkyard-start': Type.Optional(Type.Enum([...startWishes], { description: 'how a new instance is made' })),
    traceparent: Type.Optional(Type.String()),
  })

/** Any JSON, whatever the content type says. */
export const payloadSchema = Type.Unknown({ description: 'the event' })

/** Aborted when the client goes away before its answer is written. */
export const goneSignal = (reply: FastifyReply): AbortSignal => {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort()
  })
  return gone.signal
}

export type EventInvocation = Omit<Invocation, 'responseMode' | 'signal'> & { readonly body: Buffer }

/** @throws PlatformError NOT_FOUND, INVALID_REQUEST, INVALID_REQUEST_CONTENT */
export const readInvocation = async (
  deps: Pick<GatewayDeps, 'registry' | 'config'>,
  request: FastifyRequest,
  target: Target,
): Promise<EventInvocation> => {
  const { headers } = request
  const start = headers['x-forkyard-start'] ?? 'auto'
  if (!Value.Check(StartWish, start))
    throw new PlatformError('INVALID_REQUEST', 'x-forkyard-start is none of the known starts')
  const clientContext = takeClientContext(headers['x-amz-client-context'])
  const body = request.body as Buffer
  await findVersion(deps, target)
  checkPayload(body)
  // The share of an alias is drawn once: another placement stays with the same version.
  const random = Math.random()
  const { registry, config } = deps
  const resolve = (): VersionConfig =>
    resolveVersion(
      registry,
      config.region,
      registry.get(target.tenant, target.name, target.qualifier),
      target.qualifier,
      random,
    )
  return {
    invocationId: request.id,
    attempt: 1,
    resolve,
    qualifier: target.qualifier,
    kind: 'event',
    body,
    startWish: start,
    clientContext,
    traceparent: traceparentOf(headers['traceparent']),
  }
}
