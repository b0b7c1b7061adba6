/**
 * `http://lambda.NAME.internal`: Lambda's Invoke of any function that this one is bound to, by its own name, so that the SDK works with its
 * default settings. What the SDK signed with means nothing; the permission is the binding.
 */
import { bindingHost } from '../../contracts/bindings.ts'
import { lambdaLabel } from '../../contracts/calls.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { Invocation } from '../invoke/invoker.ts'
import { checkPayload, takeClientContext } from '../invoke/payload.ts'
import { sendStream } from '../invoke/send-stream.ts'
import { traceparentOf } from '../invoke/traceparent.ts'
import { wholeAnswer } from '../invoke/whole-answer.ts'
import type { Target } from '../lookup.ts'
import { resolveVersion } from '../resolve.ts'
import { payloadLimit } from '../routes/authenticate.ts'
import { declaredBytes, readBody } from '../routes/read-body.ts'
import { authorizeCall } from './authorize-call.ts'
import { boundTarget } from './bound-target.ts'
import { single, type Call, type CallDeps } from './call.ts'

/** Whether the call is for the API and not for the function. */
export const isForApi = ({ request, binding }: Call): boolean =>
  request.headers.host?.replace(/:\d+$/, '').toLowerCase() === `${lambdaLabel}.${bindingHost(binding)}`

const invokePath = /^\/2015-03-31\/functions\/([^/?]+)\/invocations$/

export const answerInvoke = async (deps: CallDeps, call: Call): Promise<void> => {
  const { request, response, requestId, receivedAt } = call
  const target = await findTarget(deps, call)
  const authMs = performance.now() - receivedAt
  const type = single(request, 'x-amz-invocation-type') ?? 'RequestResponse'
  if (!types.includes(type))
    throw new PlatformError('INVALID_REQUEST', `x-amz-invocation-type is none of ${types.join(', ')}`)
  const limit = payloadLimit(deps.config, type)
  response.once('close', deps.bodies.take(declaredBytes(request, limit)))
  const given = await readBody(request, limit, deps.config.limits.stalledMs)
  const invocation = invocationOf(deps, call, target, given.length > 0 ? given : Buffer.from('{}'))
  checkPayload(invocation.body)
  const ids = { 'x-amzn-requestid': requestId }
  if (type === 'DryRun') return void response.writeHead(204, ids).end()
  if (type === 'Event') {
    await queue(deps, target, invocation)
    return void response.writeHead(202, { ...ids, 'content-length': 0 }).end()
  }
  const tail = single(request, 'x-amz-log-type') === 'Tail'
  await sendStream(response, await wholeAnswer(deps, invocation, { tail, receivedAt, authMs }))
}

const types = ['RequestResponse', 'Event', 'DryRun']

/** @throws PlatformError UNKNOWN_OPERATION; FORBIDDEN for a function that no binding names */
const findTarget = async (deps: CallDeps, { request, ticket }: Call): Promise<Target> => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://gateway')
  const [, encoded] = invokePath.exec(pathname) ?? []
  if (encoded === undefined || request.method !== 'POST')
    throw new PlatformError('UNKNOWN_OPERATION', 'functions invoke functions here, and nothing else')
  const { tenant, name } = ticket
  const qualifier = searchParams.get('Qualifier')
  const asked = { function: decoded(encoded), ...(qualifier === null ? {} : { qualifier }) }
  const wanted = boundTarget(deps, tenant, asked)
  const bound = await deps.functionBindings.find(tenant, name, (binding) =>
    isSame(boundTarget(deps, tenant, binding), wanted),
  )
  return authorizeCall(deps, ticket, bound)
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new PlatformError('INVALID_REQUEST', 'the name of the function is malformed')
  }
}

const isSame = (one: Target | undefined, other: Target | undefined): boolean =>
  one !== undefined && one.tenant === other?.tenant && one.name === other.name && one.qualifier === other.qualifier

const invocationOf = (
  { registry, config }: CallDeps,
  { request, response, requestId, hops }: Call,
  { tenant, name, qualifier }: Target,
  body: Buffer,
): Omit<Invocation, 'responseMode'> & { readonly body: Buffer } => {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  // The share of an alias is drawn once: another placement stays with the same version.
  const random = Math.random()
  return {
    invocationId: requestId,
    attempt: 1,
    resolve: () => resolveVersion(registry, config.region, registry.get(tenant, name, qualifier), qualifier, random),
    qualifier,
    kind: 'event',
    body,
    startWish: 'auto',
    clientContext: takeClientContext(single(request, 'x-amz-client-context')),
    traceparent: traceparentOf(request.headers['traceparent']),
    hops,
    signal: gone.signal,
  }
}

const queue = (
  deps: CallDeps,
  { tenant, name, qualifier }: Target,
  { invocationId, clientContext, traceparent, hops, body }: ReturnType<typeof invocationOf>,
): Promise<void> =>
  deps.queue.push(
    {
      invocationId,
      tenant,
      name,
      ...(qualifier === undefined ? {} : { qualifier }),
      acceptedAt: Date.now(),
      ...(clientContext === undefined ? {} : { clientContext }),
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(hops === undefined ? {} : { hops }),
    },
    body,
  )
