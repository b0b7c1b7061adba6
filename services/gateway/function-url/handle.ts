/** A request for a function URL, from its head to the last byte of the answer. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { PlatformError } from '../../contracts/errors.ts'
import { accountIdOf, functionArn, latest, type FunctionRecord, type UrlRecord } from '../../contracts/function.ts'
import { toGatewayError } from '../aws-errors.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Invoked } from '../invoke/invoker.ts'
import { traceparentOf } from '../invoke/traceparent.ts'
import { decideAccess, refuseAccess } from '../access/authorize.ts'
import { rowOf, urlOperation } from '../access/operation-table.ts'
import { statementsOf } from '../access/policy.ts'
import { verifierOptions } from '../routes/authenticate.ts'
import { declaredBytes, readBody, sha256 } from '../routes/read-body.ts'
import { readClaim, verify, type AccessKey, type VerifierOptions } from '../sigv4.ts'
import { sendAnswer, type UrlPhases } from './answer.ts'
import { answerCors } from './cors.ts'
import { sendUrlError } from './error-reply.ts'
import { forwardedHeaders } from './headers.ts'
import { bodyLimit, invokeHttp } from './invoke-http.ts'

type UrlHandler = (request: IncomingMessage, response: ServerResponse, urlId: string) => void

export const createUrlHandler = (deps: GatewayDeps): UrlHandler => {
  const verifier = verifierOptions(deps)
  return (request, response, urlId) => {
    const requestId = randomUUID()
    const phases: UrlPhases = { receivedAt: performance.now(), authMs: 0 }
    // Until the settings are known, there are none.
    let cors: Readonly<Record<string, string>> = {}
    const answer = async (): Promise<void> => {
      const { record, qualifier, url } = findUrl(deps, urlId)
      const { method = 'GET', headers } = request
      const question = { method, origin: headers.origin, requestMethod: headers['access-control-request-method'] }
      const { preflight, headers: corsHeaders } = answerCors(url.cors, question)
      cors = corsHeaders
      if (preflight)
        return void response.writeHead(200, { ...cors, 'x-amzn-requestid': requestId, 'content-length': 0 }).end()
      if (url.authType === 'NONE') authorize(deps, { record, qualifier, url }, undefined)
      response.once('close', deps.bodies.take(declaredBytes(request, bodyLimit(deps))))
      const authenticated = url.authType === 'NONE' ? undefined : await authenticate(deps, verifier, request)
      phases.authMs = authenticated?.authMs ?? 0
      if (authenticated) authorize(deps, { record, qualifier, url }, authenticated.accessKey)
      const invoked = await invoke(deps, { request, response, requestId, record, qualifier, url, authenticated })
      Object.assign(phases, { placeMs: invoked.placeMs, waitedMs: invoked.waitedMs, sentAt: invoked.sentAt })
      await sendAnswer(deps, {
        response,
        requestId,
        invoked,
        phases,
        cors,
        streamed: url.invokeMode === 'RESPONSE_STREAM',
      })
    }
    if (deps.closing.aborted) response.setHeader('connection', 'close')
    response.once('close', () =>
      deps.metrics.requests.inc({ operation: 'FunctionUrl', status: String(response.statusCode) }),
    )
    answer().catch((thrown: unknown) => {
      const error = toGatewayError(thrown)
      if (error.entry.status >= 500 && !response.destroyed)
        deps.logger.error({ err: thrown, code: error.code, requestId }, error.message)
      sendUrlError(response, error, { ...cors, 'x-amzn-requestid': requestId })
    })
  }
}

interface Found {
  readonly record: FunctionRecord
  readonly qualifier: string
  readonly url: UrlRecord
}

const findUrl = ({ registry }: GatewayDeps, urlId: string): Found => {
  const found = registry.findUrl(urlId)
  const url = found?.record.urls[found.qualifier]
  if (found && url) return { ...found, url }
  if (!registry.synced) throw new PlatformError('UNAVAILABLE', 'the registry is not read yet')
  throw new PlatformError('NOT_FOUND', 'no function has this URL')
}

const urlRow = rowOf(urlOperation)

/** A URL is private like its function: also one without signatures needs a statement that lets everybody call it. */
const authorize = (deps: GatewayDeps, { record, qualifier, url }: Found, identity: AccessKey | undefined): void => {
  const of = qualifier === latest ? undefined : qualifier
  const question = {
    identity,
    row: urlRow,
    tenant: record.tenant,
    resource: functionArn(deps.config.region, record.tenant, record.name, of),
    statements: statementsOf(record, of),
    urlAuthType: url.authType,
  }
  const { allowed, reason } = decideAccess(question)
  if (!allowed) refuseAccess(question, reason)
}

interface Authenticated {
  readonly accessKey: AccessKey
  readonly body: Buffer
  readonly authMs: number
}

/** The body has to be whole for this: the signature covers it. */
const authenticate = async (
  deps: GatewayDeps,
  verifier: VerifierOptions,
  request: IncomingMessage,
): Promise<Authenticated> => {
  const { method = 'GET', url = '/', rawHeaders } = request
  const from = performance.now()
  const claim = readClaim({ method, target: url, rawHeaders }, verifier)
  const headMs = performance.now() - from
  const body = await readBody(request, bodyLimit(deps), deps.config.limits.stalledMs)
  const bodyFrom = performance.now()
  const accessKey = await verify(claim, await sha256(body, 'hex'))
  return { accessKey, body, authMs: headMs + performance.now() - bodyFrom }
}

interface UrlInvocation extends Found {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly authenticated: Authenticated | undefined
}

const invoke = async (deps: GatewayDeps, call: UrlInvocation): Promise<Invoked> => {
  const { request, response, requestId, record, qualifier, url, authenticated } = call
  const publicUrl = new URL(deps.config.publicUrl)
  const traceparent = traceparentOf(request.headers['traceparent'])
  const sourceIp = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '')
  const forwarding = {
    sourceIp,
    proto: publicUrl.protocol.slice(0, -1),
    port: publicUrl.port || (publicUrl.protocol === 'https:' ? '443' : '80'),
    traceparent,
    dropCredentials: url.authType === 'AWS_IAM',
  }
  const from = {
    headers: forwardedHeaders(request.rawHeaders, request.headers.connection, forwarding),
    urlId: url.urlId,
    sourceIp,
    ...(authenticated
      ? {
          principal: authenticated.accessKey.accessKeyId,
          account: accountIdOf(authenticated.accessKey.tenant),
        }
      : {}),
  }
  const streamed = url.invokeMode === 'RESPONSE_STREAM'
  const http = { request, response, requestId, from, streamed, traceparent, whole: authenticated?.body }
  return invokeHttp(deps, { ...http, target: { tenant: record.tenant, name: record.name, qualifier } })
}
