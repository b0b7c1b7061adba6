/**
 * A request of a function's S3 client, signed anew with the binding's keys (Signature Version 4). The client signed it with keys that mean
 * nothing; what it says of its body's digest is kept, so that the store checks the bytes. https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
 */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { Sha256Node } from '@smithy/core/checksum'
import { SignatureV4 } from '@smithy/signature-v4'
import { bindingHost, type S3Binding } from '../../contracts/bindings.ts'
import { decodeAwsChunked } from './aws-chunked.ts'
import { bodyOf, passedHeaders, RefusedRequest, targetOf, type Onward } from './onward.ts'

/** The client's own signature, in headers or, presigned, in the query. */
const signatureHeaders = new Set(['authorization', 'x-amz-date', 'x-amz-security-token', 'date'])
const signatureQuery = /^x-amz-(algorithm|credential|date|expires|signedheaders|signature|security-token)$/i

/** What names signed chunks: their signatures are of the client's keys. */
const signedChunks = /^STREAMING-AWS4-/
const unsigned = 'UNSIGNED-PAYLOAD'

/** @throws RefusedRequest for another bucket than the binding's, or another target than a path. */
export const signS3 = async (request: IncomingMessage, name: string, binding: S3Binding): Promise<Onward> => {
  const target = targetOf(request, new URL(binding.endpoint))
  const inHost = bucketInHost(request.headers.host ?? '', name)
  if (inHost !== undefined) target.pathname = `/${inHost}${target.pathname}`
  checkBucket(target, binding)
  const query = queryOf(target)
  target.search = searchOf(query)

  const headers = singleHeaders(request)
  const digest = headers['x-amz-content-sha256'] ?? unsigned
  let body: Readable | undefined = bodyOf(request)
  let sentDigest = digest
  if (body && signedChunks.test(digest)) {
    body = Readable.from(decodeAwsChunked(request))
    sentDigest = unsigned
    asPlainBody(headers)
  }
  const { region, accessKeyId, secretAccessKey } = binding
  const credentials = { accessKeyId, secretAccessKey }
  const signer = new SignatureV4({
    service: 's3',
    region,
    credentials,
    sha256: Sha256Node,
    uriEscapePath: false,
    applyChecksum: false,
  })
  const signed = await signer.sign({
    method: request.method ?? 'GET',
    protocol: target.protocol,
    hostname: target.hostname,
    ...(target.port ? { port: Number(target.port) } : {}),
    path: target.pathname,
    query,
    headers: {
      ...headers,
      host: target.host,
      'x-amz-content-sha256': sentDigest,
    },
  })
  return { method: signed.method, url: target, headers: signed.headers, body }
}

/** `BUCKET.NAME.internal`: what clients make of an endpoint that they take for a store's own. */
const bucketInHost = (host: string, name: string): string | undefined => {
  const suffix = `.${bindingHost(name)}`
  const hostname = host.replace(/:\d+$/, '').toLowerCase()
  return hostname.endsWith(suffix) ? hostname.slice(0, -suffix.length) : undefined
}

const checkBucket = (target: URL, { bucket }: S3Binding): void => {
  if (bucket === undefined) return
  const [, asked = ''] = target.pathname.split('/')
  let decoded: string | undefined
  try {
    decoded = decodeURIComponent(asked)
  } catch {
    decoded = undefined
  }
  if (decoded !== bucket) throw new RefusedRequest(403, `the binding is for bucket ${bucket} alone`)
}

/** Without the client's signature. */
const queryOf = ({ searchParams }: URL): Record<string, string[]> => {
  const keys = [...new Set(searchParams.keys())].filter((key) => !signatureQuery.test(key))
  return Object.fromEntries(keys.map((key) => [key, searchParams.getAll(key)]))
}

/** As the signature takes it: RFC 3986, where forms would write a blank as `+`. */
const searchOf = (query: Readonly<Record<string, readonly string[]>>): string =>
  Object.entries(query)
    .flatMap(([key, values]) => values.map((value) => `${escapeUri(key)}=${escapeUri(value)}`))
    .join('&')

const escapeUri = (text: string): string =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)

/** As the signature covers them. */
const singleHeaders = (request: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    Object.entries(passedHeaders(request, signatureHeaders)).map(([name, values]) => [name, [values].flat().join(',')]),
  )

/** The chunks' frame is gone, and with it the trailer that it announced. */
const asPlainBody = (headers: Record<string, string>): void => {
  const length = headers['x-amz-decoded-content-length']
  if (length === undefined) throw new RefusedRequest(411, 'chunks need x-amz-decoded-content-length')
  for (const header of ['x-amz-decoded-content-length', 'x-amz-trailer', 'x-amz-sdk-checksum-algorithm'])
    delete headers[header]
  headers['content-length'] = length
  const encodings = (headers['content-encoding'] ?? '').split(',').map((value) => value.trim())
  const kept = encodings.filter((value) => value !== 'aws-chunked' && value !== '')
  if (kept.length > 0) headers['content-encoding'] = kept.join(',')
  else delete headers['content-encoding']
}
