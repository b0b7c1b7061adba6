/** The few messages that a PostgreSQL proxy speaks itself. https://www.postgresql.org/docs/current/protocol-message-formats.html */

/** What a client sends first. `cancel` is for a connection of its own. */
export type Opening =
  | { readonly kind: 'encrypt' }
  | { readonly kind: 'startup'; readonly minor: number; readonly parameters: Readonly<Record<string, string>> }
  | { readonly kind: 'cancel'; readonly processId: number; readonly secretKey: number }

/** The bytes are no opening of protocol 3, or longer than one may be. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
}

const longestOpening = 10_000
const cancelCode = 80_877_102
const encryptCodes = new Set([80_877_103, 80_877_104])

/** @returns undefined while it is not whole. @throws ProtocolError */
export const readOpening = (seen: Buffer): { opening: Opening; bytes: number } | undefined => {
  if (seen.length < 4) return undefined
  const bytes = seen.readInt32BE(0)
  if (bytes < 8 || bytes > longestOpening) throw new ProtocolError(`a first message of ${bytes} bytes`)
  if (seen.length < bytes) return undefined
  const code = seen.readInt32BE(4)
  if (encryptCodes.has(code)) return { opening: { kind: 'encrypt' }, bytes }
  if (code === cancelCode) {
    if (bytes !== 16) throw new ProtocolError('a request to cancel has 16 bytes')
    const opening = { kind: 'cancel', processId: seen.readInt32BE(8), secretKey: seen.readInt32BE(12) } as const
    return { opening, bytes }
  }
  if (code >>> 16 !== 3) throw new ProtocolError(`protocol ${code >>> 16}.${code & 0xffff} is not spoken here`)
  const fields = seen.toString('utf8', 8, bytes).split('\0')
  const parameters: Record<string, string> = {}
  for (let at = 0; fields[at]; at += 2) parameters[fields[at] ?? ''] = fields[at + 1] ?? ''
  return { opening: { kind: 'startup', minor: code & 0xffff, parameters }, bytes }
}

const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const int32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [at, value] of values.entries()) bytes.writeInt32BE(value, at * 4)
  return bytes
}

const text = (...values: string[]): Buffer => Buffer.from(values.map((value) => `${value}\0`).join(''))

/** The newest minor version spoken is 0, and no option of the protocol is known. */
export const negotiateVersion = (options: readonly string[]): Buffer =>
  message('v', Buffer.concat([int32(3 << 16, options.length), text(...options)]))

export const authenticationOk = (): Buffer => message('R', int32(0))
export const parameterStatus = (name: string, value: string): Buffer => message('S', text(name, value))
export const backendKeyData = (processId: number, secretKey: number): Buffer =>
  message('K', int32(processId, secretKey))
export const readyForQuery = (): Buffer => message('Z', Buffer.from('I'))

/** Ends the session. @param code SQLSTATE */
export const fatal = (code: string, words: string): Buffer =>
  message('E', Buffer.concat([text('SFATAL', 'VFATAL', `C${code}`, `M${words}`), Buffer.alloc(1)]))
