/** What of a function's request goes on to a binding's origin. */
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { isHopByHop } from '../../chassis/hop-by-hop.ts'

/** Absolute, with the headers of the function that may pass. */
export interface Onward {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: Readable | undefined
}

/** Refused before anything is sent on. `status` is HTTP's. */
export class RefusedRequest extends Error {
  override readonly name = 'RefusedRequest'
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** Path and query as asked for, below the base. @throws RefusedRequest for other forms than a path, and paths that lead out. */
export const targetOf = ({ url = '' }: IncomingMessage, base: URL): URL => {
  // An absolute form would name an origin of its own.
  if (!url.startsWith('/')) throw new RefusedRequest(400, 'the target of a request through a binding is a path')
  const folder = base.pathname.replace(/\/$/, '')
  const target = new URL(`${base.origin}${folder}${url}`)
  if (target.origin !== base.origin || !`${target.pathname}/`.startsWith(`${folder}/`))
    throw new RefusedRequest(400, `the path leaves that of the binding: ${base.pathname}`)
  return target
}

/** The function's headers by lower-case name, but those of its connection and of its host. */
export const passedHeaders = (
  request: IncomingMessage,
  without: ReadonlySet<string>,
): Record<string, string | string[]> => {
  const dropped = isHopByHop(request.headers.connection)
  const headers: Record<string, string | string[]> = {}
  for (const [name, values = []] of Object.entries(request.headersDistinct))
    if (!dropped(name) && name !== 'host' && name !== 'expect' && !without.has(name))
      headers[name] = values.length === 1 ? (values[0] ?? '') : values
  return headers
}

/** Of an answer, without those of its connection. */
export const answeredHeaders = (
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string | string[]> => {
  const dropped = isHopByHop(String(headers['connection'] ?? ''))
  const passed: Record<string, string | string[]> = {}
  for (const [header, value] of Object.entries(headers))
    if (value !== undefined && !dropped(header)) passed[header] = value
  return passed
}

/** The request's, if it has one. */
export const bodyOf = (request: IncomingMessage): IncomingMessage | undefined => {
  const { 'transfer-encoding': encoding, 'content-length': length } = request.headers
  return encoding !== undefined || Number(length ?? 0) > 0 ? request : undefined
}
