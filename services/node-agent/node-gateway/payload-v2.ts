/**
 * HTTP request <-> Lambda payload format 2.0, as AWS documents it for function URLs.
 * https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
 */
import type { HttpPrelude } from '../../contracts/node.ts'

export interface PayloadV2 {
  readonly version: '2.0'
  readonly routeKey: '$default'
  readonly rawPath: string
  readonly rawQueryString: string
  readonly cookies?: readonly string[]
  readonly headers: Readonly<Record<string, string>>
  readonly queryStringParameters?: Readonly<Record<string, string>>
  readonly requestContext: Readonly<Record<string, unknown>>
  readonly body?: string
  readonly isBase64Encoded: boolean
}

export interface ResponsePrelude {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly cookies: readonly string[]
}

const textTypes = /^(text\/.*|application\/(json|xml|javascript|x-www-form-urlencoded|.*\+(json|xml)))$/i

/** Bodies of these types go as text, all others as base64. */
export const isText = (contentType: string | undefined, contentEncoding: string | undefined): boolean =>
  !contentEncoding && contentType !== undefined && textTypes.test(contentType.split(';')[0]?.trim() ?? '')

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const two = (value: number): string => String(value).padStart(2, '0')

/** Common log format in UTC: `24/Nov/2026:15:04:05 +0000`. */
export const requestTime = (epochMs: number): string => {
  const at = new Date(epochMs)
  const day = `${two(at.getUTCDate())}/${months[at.getUTCMonth()]}/${at.getUTCFullYear()}`
  return `${day}:${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000`
}

export const toPayloadV2 = (prelude: HttpPrelude, body: Buffer, requestId: string): PayloadV2 => {
  const mark = prelude.target.indexOf('?')
  const path = mark < 0 ? prelude.target : prelude.target.slice(0, mark)
  const rawQueryString = mark < 0 ? '' : prelude.target.slice(mark + 1)
  const headers = new Map<string, string>()
  const cookies: string[] = []
  for (const [rawName, value] of prelude.headers) {
    const name = rawName.toLowerCase()
    if (name === 'cookie') cookies.push(...value.split(/; */).filter(Boolean))
    else headers.set(name, headers.has(name) ? `${headers.get(name)},${value}` : value)
  }
  const query = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(rawQueryString))
    query.set(name, query.has(name) ? `${query.get(name)},${value}` : value)
  const text = isText(headers.get('content-type'), headers.get('content-encoding'))
  const domainName = prelude.host.replace(/:\d+$/, '')
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString,
    ...(cookies.length > 0 ? { cookies } : {}),
    headers: Object.fromEntries(headers),
    ...(query.size > 0 ? { queryStringParameters: Object.fromEntries(query) } : {}),
    requestContext: {
      accountId: prelude.account ?? prelude.caller?.account ?? 'anonymous',
      apiId: prelude.urlId,
      authentication: null,
      ...(prelude.principal === undefined
        ? {}
        : {
            authorizer: {
              iam: { accountId: prelude.account, accessKey: prelude.principal, userId: prelude.principal },
            },
          }),
      ...(prelude.caller === undefined ? {} : { authorizer: { function: prelude.caller } }),
      domainName,
      domainPrefix: prelude.urlId,
      http: {
        method: prelude.method,
        path,
        protocol: prelude.protocol,
        sourceIp: prelude.sourceIp,
        userAgent: headers.get('user-agent') ?? '',
      },
      requestId,
      routeKey: '$default',
      stage: '$default',
      time: requestTime(prelude.receivedAt),
      timeEpoch: prelude.receivedAt,
    },
    ...(body.length > 0 ? { body: body.toString(text ? 'utf8' : 'base64') } : {}),
    isBase64Encoded: body.length > 0 && !text,
  }
}

const asHeaders = (value: unknown): Record<string, string> =>
  typeof value === 'object' && value !== null
    ? Object.fromEntries(
        Object.entries(value)
          .filter(([, entry]) => ['string', 'number', 'boolean'].includes(typeof entry))
          .map(([name, entry]) => [name.toLowerCase(), String(entry)]),
      )
    : {}

const json = { 'content-type': 'application/json' }

/** A handler's answer as HTTP. Without `statusCode` the whole answer is the body of a 200, as AWS infers it. */
export const fromAnswer = (answer: Buffer): { prelude: ResponsePrelude; body: Buffer } => {
  let value: unknown
  try {
    value = JSON.parse(answer.toString('utf8'))
  } catch {
    return { prelude: { statusCode: 200, headers: json, cookies: [] }, body: answer }
  }
  if (typeof value !== 'object' || value === null || !('statusCode' in value)) {
    // A string is the body itself; anything else is its JSON.
    const body = typeof value === 'string' ? Buffer.from(value) : answer
    return { prelude: { statusCode: 200, headers: json, cookies: [] }, body }
  }
  const { statusCode, headers, cookies, body, isBase64Encoded } = value as Record<string, unknown>
  const status = Number(statusCode)
  if (!Number.isInteger(status) || status < 200 || status > 599)
    return {
      prelude: { statusCode: 502, headers: json, cookies: [] },
      body: Buffer.from('{"Message":"Internal Server Error"}'),
    }
  const text = body === undefined || body === null ? '' : typeof body === 'string' ? body : JSON.stringify(body)
  return {
    prelude: {
      statusCode: status,
      headers: { ...json, ...asHeaders(headers) },
      cookies: Array.isArray(cookies) ? cookies.filter((cookie) => typeof cookie === 'string') : [],
    },
    body: Buffer.from(text, isBase64Encoded === true ? 'base64' : 'utf8'),
  }
}
