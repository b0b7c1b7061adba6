/**
 * Verifies AWS Signature Version 4, in the Authorization header or in the query (presigned).
 *
 * The request is signed again, by AWS's own signer, from exactly what was received, and the two signatures are compared. Two steps,
 * so that nothing is buffered for callers who are not known: `readClaim` needs the head alone, `verify` the body.
 */
import { Sha256Node } from '@smithy/core/checksum'
import { SignatureV4 } from '@smithy/signature-v4'
import { equalSecrets } from '../chassis/equal-secrets.ts'
import type { Role } from '../contracts/access.ts'
import { PlatformError } from '../contracts/errors.ts'

export interface ReceivedHead {
  readonly method: string
  /** Path and query as received, still percent-encoded. */
  readonly target: string
  /** Names and values in turn, as Node's `rawHeaders`. */
  readonly rawHeaders: readonly string[]
}

export interface AccessKey {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly tenant: string
  readonly principal: string
  readonly roles: readonly Role[]
  /** Epoch milliseconds; from then on it is refused. */
  readonly expiresAt?: number
}

export interface VerifierOptions {
  /** Only keys that are in force. */
  readonly keys: { get(accessKeyId: string): AccessKey | undefined }
  readonly region: string
  readonly clockSkewMs: number
  readonly now: () => number
}

/** Who the caller claims to be; nothing is proven before `verify`. */
export interface Claim {
  readonly key: AccessKey
  readonly signature: string
  readonly signedAt: Date
  readonly signedHeaders: readonly string[]
  readonly region: string
  readonly path: string
  readonly query: Readonly<Record<string, string | string[]>>
  readonly headers: ReadonlyMap<string, string>
  readonly method: string
}

const service = 'lambda'
const hashHeader = 'x-amz-content-sha256'
const dateHeader = 'x-amz-date'
const maxPresignedSeconds = 7 * 24 * 3600

const badSignature = (message: string): never => {
  throw new PlatformError('BAD_SIGNATURE', message)
}

/**
 * @throws PlatformError MISSING_AUTHENTICATION, UNKNOWN_ACCESS_KEY, EXPIRED_ACCESS_KEY, or BAD_SIGNATURE for a malformed, expired, skewed or
 * wrongly scoped signature.
 */
export const readClaim = (head: ReceivedHead, options: VerifierOptions): Claim => {
  const mark = head.target.indexOf('?')
  const path = mark < 0 ? head.target : head.target.slice(0, mark)
  const query = parseQuery(mark < 0 ? '' : head.target.slice(mark + 1))
  const headers = joinHeaders(head.rawHeaders)
  const authorization = headers.get('authorization')
  const presigned = authorization === undefined && query['X-Amz-Signature'] !== undefined
  if (authorization === undefined && !presigned)
    throw new PlatformError('MISSING_AUTHENTICATION', 'Missing Authentication Token')
  const fields = presigned ? fromQuery(query) : fromHeader(authorization ?? '', headers)
  const [accessKeyId = '', day, region, scopeService, end, ...rest] = fields.credential.split('/')
  const key = options.keys.get(accessKeyId)
  if (!key)
    throw new PlatformError('UNKNOWN_ACCESS_KEY', 'The security token included in the request is invalid.', {
      accessKeyId: accessKeyId.slice(0, 128),
    })
  if (key.expiresAt !== undefined && key.expiresAt <= options.now())
    throw new PlatformError('EXPIRED_ACCESS_KEY', 'The security token included in the request is expired')
  const signedAt = parseDate(fields.date)
  if (rest.length > 0 || end !== 'aws4_request' || day !== fields.date.slice(0, 8))
    badSignature(
      `Credential must be of the form <key>/${fields.date.slice(0, 8)}/${options.region}/lambda/aws4_request`,
    )
  if (region !== options.region) return badSignature(`Credential should be scoped to the region '${options.region}'.`)
  if (scopeService !== service) badSignature(`Credential should be scoped to the service '${service}'.`)
  checkTime(signedAt, fields.expiresSeconds, options)
  const signedHeaders = fields.signedHeaders.split(';')
  if (!signedHeaders.includes('host')) badSignature("'Host' must be a SignedHeader in the AWS Authorization.")
  for (const name of headers.keys())
    if (name.startsWith('x-amz-') && !signedHeaders.includes(name))
      badSignature(`The header '${name}' is present and must be a signed header.`)
  for (const name of signedHeaders)
    if (!headers.has(name)) badSignature(`The signed header '${name.slice(0, 128)}' is not in the request.`)
  const { signature } = fields
  return { key, signature, signedAt, signedHeaders, region, path, query, headers, method: head.method }
}

/** @param bodySha256 lower-case hex. @throws PlatformError BAD_SIGNATURE when signature or body hash do not match. */
export const verify = async (claim: Claim, bodySha256: string): Promise<AccessKey> => {
  const declared = claim.headers.get(hashHeader)
  // Lambda takes no unsigned payloads.
  if (declared !== undefined && declared !== bodySha256)
    badSignature('The provided x-amz-content-sha256 header does not match what was computed.')
  const { accessKeyId, secretAccessKey } = claim.key
  const signer = new SignatureV4({
    service,
    region: claim.region,
    credentials: { accessKeyId, secretAccessKey },
    sha256: Sha256Node,
    applyChecksum: false,
  })
  const headers = Object.fromEntries(claim.signedHeaders.map((name) => [name, claim.headers.get(name) ?? '']))
  // The signer takes the body's hash from this header; date and hash count as headers only where the client signed them.
  headers[hashHeader] = bodySha256
  const unsigned = [dateHeader, hashHeader].filter((name) => !claim.signedHeaders.includes(name))
  const { 'X-Amz-Signature': _signature, ...query } = claim.query
  const signed = await signer.sign(
    { method: claim.method, protocol: 'http:', hostname: '', path: claim.path, query, headers },
    {
      signingDate: claim.signedAt,
      signableHeaders: new Set(claim.signedHeaders),
      ...(unsigned.length > 0 ? { unsignableHeaders: new Set(unsigned) } : {}),
    },
  )
  const expected = /Signature=([0-9a-f]{64})$/.exec(signed.headers['authorization'] ?? '')?.[1] ?? ''
  if (!equalSecrets(claim.signature, expected))
    badSignature(
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
    )
  return claim.key
}

interface Fields {
  readonly credential: string
  readonly signedHeaders: string
  readonly signature: string
  readonly date: string
  readonly expiresSeconds?: number
}

const fromHeader = (authorization: string, headers: ReadonlyMap<string, string>): Fields => {
  const [, algorithm, rest = ''] = /^(\S+)\s*(.*)$/.exec(authorization) ?? []
  if (algorithm !== 'AWS4-HMAC-SHA256')
    throw new PlatformError(
      'MISSING_AUTHENTICATION',
      'Authorization must be of the form AWS4-HMAC-SHA256 Credential=...',
    )
  const parts = new Map(
    rest.split(',').map((part) => {
      const at = part.indexOf('=')
      return [part.slice(0, at).trim(), part.slice(at + 1).trim()] as const
    }),
  )
  const field = (name: string): string =>
    parts.get(name) ?? badSignature(`Authorization header requires '${name}' parameter.`)
  const date = headers.get(dateHeader) ?? badSignature("Authorization header requires existence of 'X-Amz-Date'.")
  return {
    credential: field('Credential'),
    signedHeaders: field('SignedHeaders').toLowerCase(),
    signature: field('Signature'),
    date,
  }
}

const fromQuery = (query: Readonly<Record<string, string | string[]>>): Fields => {
  const field = (name: string): string => {
    const value = query[name]
    return typeof value === 'string' ? value : badSignature(`The query must have exactly one '${name}'.`)
  }
  if (field('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256') badSignature("X-Amz-Algorithm must be 'AWS4-HMAC-SHA256'.")
  const expires = field('X-Amz-Expires')
  const expiresSeconds = /^\d{1,6}$/.test(expires) ? Number(expires) : Number.NaN
  if (!(expiresSeconds >= 1 && expiresSeconds <= maxPresignedSeconds))
    badSignature(`X-Amz-Expires must be a number of seconds from 1 to ${maxPresignedSeconds}.`)
  return {
    credential: field('X-Amz-Credential'),
    signedHeaders: field('X-Amz-SignedHeaders').toLowerCase(),
    signature: field('X-Amz-Signature'),
    date: field('X-Amz-Date'),
    expiresSeconds,
  }
}

const parseDate = (text: string): Date => {
  const match = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/.exec(text)
  const [, year, month, day, hour, minute, second] = match ?? []
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  if (!match || Number.isNaN(date.getTime())) badSignature('X-Amz-Date must be in ISO-8601 basic format.')
  return date
}

const checkTime = (signedAt: Date, expiresSeconds: number | undefined, { now, clockSkewMs }: VerifierOptions): void => {
  const ageMs = now() - signedAt.getTime()
  const clock = new Date(now()).toISOString()
  if (ageMs < -clockSkewMs)
    badSignature(`Signature not yet current: ${signedAt.toISOString()} is over ${clockSkewMs} ms ahead of ${clock}`)
  if (ageMs > (expiresSeconds === undefined ? clockSkewMs : expiresSeconds * 1000))
    badSignature(`Signature expired: ${signedAt.toISOString()} is now earlier than allowed at ${clock}`)
}

/** Keys and values percent-decoded; several values of one key as an array, in order. */
const parseQuery = (text: string): Record<string, string | string[]> => {
  const query = Object.create(null) as Record<string, string | string[]>
  for (const part of text.split('&')) {
    if (part === '') continue
    const at = part.indexOf('=')
    const name = decode(at < 0 ? part : part.slice(0, at))
    const value = at < 0 ? '' : decode(part.slice(at + 1))
    const before = query[name]
    query[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value]
  }
  return query
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new PlatformError('INVALID_REQUEST', 'the query is not percent-encoded UTF-8')
  }
}

const joinHeaders = (raw: readonly string[]): Map<string, string> => {
  const headers = new Map<string, string>()
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase()
    const value = (raw[i + 1] ?? '').trim()
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before},${value}`)
  }
  return headers
}
