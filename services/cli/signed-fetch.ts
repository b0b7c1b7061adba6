/** Calls of the platform's own endpoints (`/forkyard/v1/...`), signed like every AWS request. */
import { Sha256Node } from '@smithy/core/checksum'
import { SignatureV4 } from '@smithy/signature-v4'
import { CliError } from './cli-error.ts'
import type { Connection } from './connection.ts'

export interface SignedRequest {
  readonly method?: string
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body?: unknown
  readonly signal?: AbortSignal
}

/** @throws CliError with the platform's own message when it answers with anything but 2xx. */
export const signedFetch = async (connection: Connection, request: SignedRequest): Promise<Response> => {
  const { method = 'GET', path, query = {}, signal } = request
  const body = request.body === undefined ? undefined : JSON.stringify(request.body)
  const url = new URL(path, connection.endpoint)
  const { accessKeyId, secretAccessKey, region } = connection
  const credentials = { accessKeyId, secretAccessKey }
  const signer = new SignatureV4({ service: 'lambda', region, credentials, sha256: Sha256Node, uriEscapePath: true })
  const signed = await signer.sign({
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    ...(url.port ? { port: Number(url.port) } : {}),
    path: url.pathname,
    query: { ...query },
    headers: { host: url.host, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body }),
  })
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  const { host: _host, ...headers } = signed.headers
  const response = await fetch(url, {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
    ...(signal ? { signal } : {}),
  })
  if (response.ok) return response
  const answer: unknown = await response.json().catch(() => undefined)
  const message = `${method} ${path}: ${response.status} ${messageOf(answer) ?? response.statusText}`
  throw new CliError(message, 1, { cause: { status: response.status } })
}

/** Of `signedFetch`: what was asked for is not there. */
export const isNotFound = (error: unknown): boolean =>
  error instanceof CliError && (error.cause as { status?: number } | undefined)?.status === 404

const messageOf = (body: unknown): string | undefined => {
  if (typeof body !== 'object' || body === null) return undefined
  const { message, Message } = body as { message?: unknown; Message?: unknown }
  const found = message ?? Message
  return typeof found === 'string' ? found : undefined
}
