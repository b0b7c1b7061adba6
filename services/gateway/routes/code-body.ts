/**
 * The JSON of CreateFunction and UpdateFunctionCode, whose one long member is a zip in base64. The long strings are cut out first
 * and decoded in slices, so that neither a copy of the text nor a long parse holds up the other requests.
 */
import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { PlatformError } from '../../contracts/errors.ts'

const longBytes = 16 * 1024
const sliceBytes = 1024 * 1024
const quote = 0x22
const backslash = 0x5c

export interface CodeBody {
  /** The JSON's value; a long string is replaced by a name that `bytesOf` knows. */
  readonly value: unknown
  /** Decoded base64 of a string member. @throws PlatformError INVALID_REQUEST when it is no base64. */
  readonly bytesOf: (text: string) => Promise<Buffer>
}

/** @throws PlatformError INVALID_REQUEST when it is no JSON. */
export const parseCodeBody = (json: Buffer): CodeBody => {
  const long = new Map<string, Buffer>()
  const pieces: Buffer[] = []
  let copied = 0
  for (let open = json.indexOf(quote); open >= 0;) {
    const close = endOfString(json, open)
    if (close < 0) break
    if (close - open > longBytes) {
      const name = randomUUID()
      long.set(name, json.subarray(open + 1, close))
      pieces.push(json.subarray(copied, open + 1), Buffer.from(name))
      copied = close
    }
    open = json.indexOf(quote, close + 1)
  }
  pieces.push(json.subarray(copied))
  const text = Buffer.concat(pieces)
  return { value: parseJson(text), bytesOf: (name) => decodeBase64(long.get(name) ?? Buffer.from(name)) }
}

/** Outside of strings JSON has no quotes and no backslashes; inside, a quote ends the string unless it is escaped. */
const endOfString = (json: Buffer, open: number): number => {
  for (let at = json.indexOf(quote, open + 1); at >= 0; at = json.indexOf(quote, at + 1)) {
    let escapes = 0
    while (json[at - 1 - escapes] === backslash) escapes++
    if (escapes % 2 === 0) return at
  }
  return -1
}

export const parseJson = (bytes: Buffer): unknown => {
  try {
    return JSON.parse(utf8.decode(bytes))
  } catch (error) {
    throw new PlatformError('INVALID_REQUEST', 'Could not parse request body into json', undefined, { cause: error })
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

const decodeBase64 = async (text: Buffer): Promise<Buffer> => {
  const whole = Buffer.allocUnsafe(Math.ceil((text.length * 3) / 4))
  let size = 0
  for (let at = 0; at < text.length; at += sliceBytes) {
    if (at > 0) await nextTurn()
    // Slices of a multiple of four characters decode alone.
    const slice = text.toString('latin1', at, at + sliceBytes)
    const last = at + sliceBytes >= text.length
    const characters = last ? slice.replace(/={1,2}$/, '').length : slice.length
    const written = whole.write(slice, size, 'base64')
    if (written !== Math.floor((characters * 3) / 4) || characters % 4 === 1) throw notBase64()
    size += written
  }
  return whole.subarray(0, size)
}

const notBase64 = (): PlatformError => new PlatformError('INVALID_REQUEST', "Value at 'zipFile' is not valid base64")
