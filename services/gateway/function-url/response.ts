/** What a node answers to an HTTP request: a JSON prelude, eight NUL bytes, the body. */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { isHopByHop } from '../../chassis/hop-by-hop.ts'
import { platformHeaderPrefix } from '../../contracts/calls.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { preludeDelimiter } from '../../contracts/node.ts'

export interface ResponseHead {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
}

const maxPreludeBytes = 256 * 1024

/** The function's fault, and its log tells which. */
const malformed = (problem: string): PlatformError =>
  new PlatformError('START_FAILED', `the function's answer is no HTTP: ${problem}`)

/**
 * Reads until the prelude is whole, and no further. @returns it and the bytes after it.
 * @throws PlatformError as `bytes`; START_FAILED when it is too long, not JSON, or not to be sent.
 */
export const splitResponse = async (
  bytes: AsyncGenerator<Buffer>,
): Promise<{ head: ResponseHead; body: AsyncGenerator<Buffer> }> => {
  let seen: Buffer = Buffer.alloc(0)
  for (let at = -1; ;) {
    const { value, done } = await bytes.next()
    if (done) throw malformed('its prelude has no end')
    const from = Math.max(0, seen.length - preludeDelimiter.length)
    seen = seen.length === 0 ? value : Buffer.concat([seen, value])
    at = seen.indexOf(preludeDelimiter, from)
    if ((at < 0 ? seen.length : at) > maxPreludeBytes) throw malformed(`its prelude is over ${maxPreludeBytes} bytes`)
    if (at < 0) continue
    const head = parseHead(seen.subarray(0, at))
    const rest = seen.subarray(at + preludeDelimiter.length)
    return { head, body: prepend(rest, bytes) }
  }
}

async function* prepend(first: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first
  yield* rest
}

export const parseHead = (json: Buffer): ResponseHead => {
  let value: unknown
  try {
    value = JSON.parse(json.toString('utf8'))
  } catch {
    throw malformed('its prelude is no JSON')
  }
  if (typeof value !== 'object' || value === null) throw malformed('its prelude is no object')
  const { statusCode = 200, headers = {}, cookies = [] } = value as Record<string, unknown>
  const status = Number(statusCode)
  if (!Number.isInteger(status) || status < 200 || status > 599) throw malformed('its status is none')
  if (typeof headers !== 'object' || headers === null) throw malformed('its headers are no object')
  const taken: Record<string, string | string[]> = {}
  const entries = Object.entries(headers).map(([name, each]) => [name.toLowerCase(), each] as const)
  const connection = entries.find(([name]) => name === 'connection')?.[1]
  const dropped = isHopByHop(typeof connection === 'string' ? connection : undefined)
  for (const [name, each] of entries) {
    if (dropped(name) || name.startsWith(platformHeaderPrefix) || each === undefined || each === null) continue
    taken[name] = Array.isArray(each) ? each.map(String) : String(each)
  }
  if (Array.isArray(cookies) && cookies.length > 0)
    taken['set-cookie'] = [taken['set-cookie'] ?? [], cookies].flat(2).map(String)
  checkHeaders(taken)
  return { status, headers: taken }
}

const checkHeaders = (headers: Readonly<Record<string, string | string[]>>): void => {
  try {
    for (const [name, values] of Object.entries(headers)) {
      validateHeaderName(name)
      for (const value of [values].flat()) validateHeaderValue(name, value)
    }
  } catch {
    throw malformed('a header cannot be sent')
  }
}
