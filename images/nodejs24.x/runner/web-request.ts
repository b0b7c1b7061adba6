/** What reaches a function over HTTP, or as a payload 2.0 event, as a Web `Request`. */
import { Readable } from 'node:stream'
import type { HttpPrelude } from '../../../services/contracts/node.ts'

const maxPreludeBytes = 1024 * 1024

export interface HttpRequest {
  readonly prelude: HttpPrelude
  /** What follows the prelude. */
  readonly body: Readable
}

/** Reads the prelude and leaves the body in the stream. @throws Error when there is none. */
export const readHttpRequest = async (stream: Readable): Promise<HttpRequest> => {
  let seen: Buffer = Buffer.alloc(0)
  for (;;) {
    // Between this and `unshift` nothing may wait: a stream whose last bytes were read ends before who waits goes on, and takes nothing back.
    const chunk = stream.read() as Buffer | null
    if (chunk === null) {
      if (stream.readableEnded) throw new Error('the HTTP request ended before its body')
      await readable(stream)
      continue
    }
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    const end = seen.indexOf('\0\0\0\0\0\0\0\0')
    if (end >= 0) {
      if (end + 8 < seen.length) stream.unshift(seen.subarray(end + 8))
      return { prelude: JSON.parse(seen.toString('utf8', 0, end)) as HttpPrelude, body: stream }
    }
    if (seen.length > maxPreludeBytes) throw new Error('the HTTP request has no end of its head')
  }
}

/** There is something to read, or the end was reached. */
const readable = (stream: Readable): Promise<void> =>
  new Promise((resolve, reject) => {
    const settle = (take: () => void) => () => {
      stream.off('readable', onReadable).off('end', onEnd).off('error', onError)
      take()
    }
    const onReadable = settle(resolve)
    const onEnd = settle(resolve)
    const onError = (error: Error) => settle(() => reject(error))()
    stream.on('readable', onReadable).on('end', onEnd).on('error', onError)
  })

const headerOf = (headers: HttpPrelude['headers'], wanted: string): string | undefined =>
  headers.find(([name]) => name === wanted)?.[1]

const hasBody = (method: string): boolean => method !== 'GET' && method !== 'HEAD'

export const requestFromHttp = ({ prelude, body }: HttpRequest, signal: AbortSignal): Request => {
  const { method, headers, host, target } = prelude
  const scheme = headerOf(headers, 'x-forwarded-proto') === 'https' ? 'https' : 'http'
  const path = target.startsWith('/') ? target : `/${target}`
  const init = { method, headers: headers.map(([name, value]): [string, string] => [name, value]), signal }
  if (!hasBody(method)) {
    body.resume()
    return new Request(`${scheme}://${host}${path}`, init)
  }
  return new Request(`${scheme}://${host}${path}`, {
    ...init,
    body: Readable.toWeb(body) as ReadableStream<Uint8Array>,
    duplex: 'half',
  })
}

interface PayloadV2 {
  readonly version: '2.0'
  readonly rawPath: string
  readonly rawQueryString?: string
  readonly cookies?: readonly string[]
  readonly headers?: Readonly<Record<string, string>>
  readonly requestContext: { readonly domainName?: string; readonly http: { readonly method: string } }
  readonly body?: string
  readonly isBase64Encoded?: boolean
}

const isPayloadV2 = (event: unknown): event is PayloadV2 => {
  const { version, rawPath, requestContext } = (event ?? {}) as Partial<PayloadV2>
  return version === '2.0' && typeof rawPath === 'string' && typeof requestContext?.http?.method === 'string'
}

/** A payload 2.0 event is the HTTP request that it describes; any other event is posted as JSON. */
export const requestFromEvent = (event: unknown, signal: AbortSignal): Request => {
  const headers = new Headers({ 'content-type': 'application/json' })
  if (!isPayloadV2(event))
    return new Request('http://localhost/', { method: 'POST', headers, body: JSON.stringify(event), signal })
  const { rawPath, rawQueryString, requestContext, body, isBase64Encoded, cookies } = event
  for (const [name, value] of Object.entries(event.headers ?? {})) headers.set(name, value)
  if (cookies && cookies.length > 0) headers.set('cookie', cookies.join('; '))
  const { method } = requestContext.http
  const url = `https://${requestContext.domainName ?? 'localhost'}${rawPath}${rawQueryString ? `?${rawQueryString}` : ''}`
  if (!hasBody(method) || body === undefined) return new Request(url, { method, headers, signal })
  return new Request(url, { method, headers, signal, body: isBase64Encoded ? Buffer.from(body, 'base64') : body })
}
