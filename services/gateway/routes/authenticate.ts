/** Who calls: the head first, so that nothing is read for strangers; then the body, and the signature over both. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { toPlatformError } from '../../chassis/http-server.ts'
import type { GatewayDeps } from '../deps.ts'
import type { BodyLimit } from '../invoke/replayable-body.ts'
import { readClaim, verify, type AccessKey, type Claim, type VerifierOptions } from '../sigv4.ts'
import { parseCodeBody, parseJson } from './code-body.ts'
import { declaredBytes, readBody, sha256 } from './read-body.ts'

export interface Caller {
  /** Whose function it is about: the caller's own tenant, unless an ARN names another that lets the caller in (`authorize.ts`). */
  readonly tenant: string
  readonly accessKey: AccessKey
}

export type BodyKind = 'none' | 'json' | 'code' | 'payload'

declare module 'fastify' {
  interface FastifyRequest {
    claim?: Claim
    caller?: Caller
    /** `performance.now()` when the head was there. */
    receivedAt: number
    /** Time that signature and hash took, without waiting for the body. */
    authMs: number
    /** What a member of a `code` body stands for. */
    bytesOf?: (text: string) => Promise<Buffer>
  }
  interface FastifyContextConfig {
    operation?: string
    bodyKind?: BodyKind
  }
}

const emptyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
/** The payload of an invocation without one, as AWS has it. */
const noPayload = Buffer.from('{}')

export const verifierOptions = ({ config, access }: GatewayDeps): VerifierOptions => ({
  keys: access,
  region: config.region,
  clockSkewMs: config.limits.clockSkewMs,
  now: () => Date.now(),
})

export const payloadLimit = ({ limits }: GatewayDeps['config'], invocationType: unknown): BodyLimit =>
  invocationType === 'Event'
    ? { key: 'limits.asyncPayloadBytes', bytes: limits.asyncPayloadBytes }
    : { key: 'limits.syncPayloadBytes', bytes: limits.syncPayloadBytes }

export const authenticator = (deps: GatewayDeps) => {
  const { config, bodies } = deps
  const { limits } = config
  const options = verifierOptions(deps)

  const limitOf = (request: FastifyRequest, kind: BodyKind): BodyLimit => {
    if (kind === 'code')
      return { key: 'limits.zipBytes', bytes: Math.ceil(limits.zipBytes / 3) * 4 + limits.requestBytes }
    if (kind === 'payload') return payloadLimit(config, request.headers['x-amz-invocation-type'])
    return { key: 'limits.requestBytes', bytes: limits.requestBytes }
  }

  const authenticate = async (request: FastifyRequest): Promise<void> => {
    const { method = '', url = '', rawHeaders } = request.raw
    request.receivedAt = performance.now()
    request.claim = readClaim({ method, target: url, rawHeaders }, options)
    request.authMs = performance.now() - request.receivedAt
    // Bodies are read here whatever their content type says; AWS does not look at it either.
    request.raw.headers['content-type'] = 'application/octet-stream'
  }

  const readAndVerify = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const kind = request.routeOptions.config.bodyKind ?? 'none'
    const limit = limitOf(request, kind)
    const release = bodies.take(declaredBytes(request.raw, limit))
    reply.raw.once('close', release)
    const body = await readBody(request.raw, limit, limits.stalledMs).catch((error: unknown) => {
      if (toPlatformError(error).code !== 'REQUEST_TOO_LARGE') reply.header('connection', 'close')
      throw error
    })
    const from = performance.now()
    const { claim } = request
    if (!claim) throw new Error('the head was not read')
    const accessKey = await verify(claim, body.length === 0 ? emptyHash : await sha256(body, 'hex'))
    request.caller = { tenant: accessKey.tenant, accessKey }
    request.authMs += performance.now() - from
    request.body = takeBody(request, kind, body)
  }
  return { authenticate, readAndVerify }
}

const takeBody = (request: FastifyRequest, kind: BodyKind, body: Buffer): unknown => {
  if (kind === 'payload') return body.length === 0 ? noPayload : body
  if (kind === 'none') return undefined
  // AWS's clients send no body where every member is optional and none is given.
  if (body.length === 0) return {}
  if (kind === 'json') return parseJson(body)
  const { value, bytesOf } = parseCodeBody(body)
  request.bytesOf = bytesOf
  return value
}
