/** What comes with an invocation through the API, checked before anything is placed or queued. */
import { isUtf8 } from 'node:buffer'
import { PlatformError } from '../../contracts/errors.ts'

/** @throws PlatformError INVALID_REQUEST_CONTENT when it is not JSON. */
export const checkPayload = (payload: Buffer): void => {
  try {
    if (!isUtf8(payload)) throw new Error('it is not UTF-8')
    JSON.parse(payload.toString('utf8'))
  } catch (error) {
    const why = error instanceof Error ? error.message.slice(0, 200) : 'it is malformed'
    throw new PlatformError(
      'INVALID_REQUEST_CONTENT',
      `Could not parse request body into json: Could not parse payload into json: ${why}`,
      undefined,
      { cause: error },
    )
  }
}

const maxContextBytes = 3583

/**
 * The client context as it goes to the runtime in a header: one line of ASCII JSON, base64.
 * @throws PlatformError INVALID_REQUEST_CONTENT
 */
export const takeClientContext = (header: string | string[] | undefined): string | undefined => {
  if (header === undefined || header === '') return undefined
  const text = String(header)
  if (text.length > maxContextBytes)
    throw new PlatformError(
      'INVALID_REQUEST_CONTENT',
      `Client context must be at most ${maxContextBytes} bytes in base64.`,
    )
  let value: unknown
  try {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new Error('no base64')
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'base64')))
  } catch (cause) {
    throw new PlatformError(
      'INVALID_REQUEST_CONTENT',
      'Client context must be a valid Base64-encoded JSON object.',
      undefined,
      { cause },
    )
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new PlatformError('INVALID_REQUEST_CONTENT', 'Client context must be a valid Base64-encoded JSON object.')
  const json = JSON.stringify(value).replaceAll(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return Buffer.from(json).toString('base64')
}
