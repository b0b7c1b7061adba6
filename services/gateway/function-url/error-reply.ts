/** Errors at a function URL: its callers are strangers, so the body says no more than the status does. */
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { PlatformError } from '../../contracts/errors.ts'
import type { InvocationReport } from '../../contracts/usage.ts'

export const sendUrlError = (
  response: ServerResponse,
  error: PlatformError,
  headers: Readonly<Record<string, string>>,
): void => {
  const { status, awsType, retryable } = error.entry
  send(response, status, {
    ...headers,
    'x-amzn-errortype': awsType,
    'x-forkyard-error': error.code,
    ...(retryable && status !== 502 ? { 'retry-after': '1' } : {}),
    ...(dropRest(response.req) ? {} : { connection: 'close' }),
  })
}

/**
 * A client that is still sending would see a reset instead of the answer: what nobody has begun to read is read and dropped.
 * @returns false when somebody has.
 */
export const dropRest = (request: IncomingMessage): boolean => {
  if (request.complete) return true
  if (request.listenerCount('readable') > 0) return false
  request.resume()
  return true
}

/** The function ran and failed: 504 for its time-out, 502 for the rest; the kind is told, the cause is in the log. */
export const sendFunctionError = (
  response: ServerResponse,
  functionError: string,
  report: InvocationReport | undefined,
  headers: Readonly<Record<string, string>>,
): void => {
  const outcome = report?.outcome ?? 'function-error'
  send(response, outcome === 'timeout' ? 504 : 502, {
    ...headers,
    'x-amz-function-error': functionError,
    'x-forkyard-error': outcome,
  })
}

const phrases: Readonly<Record<number, string>> = { 500: 'Internal Server Error', 502: 'Internal Server Error' }

const send = (response: ServerResponse, status: number, headers: Readonly<Record<string, string>>): void => {
  if (response.headersSent || response.destroyed) return void response.destroy()
  const body = Buffer.from(JSON.stringify({ Message: phrases[status] ?? STATUS_CODES[status] ?? 'Error' }))
  response
    .writeHead(status, { ...headers, 'content-type': 'application/json', 'content-length': body.length })
    .end(body)
}
