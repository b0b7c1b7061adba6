/**
 * Pure: what gVisor's kernel tells of a call on a socket (its remote sink: a header, then Protocol Buffers, `pkg/sentry/seccheck/points`). It comes from
 * a sandbox, so whatever it is, reading it ends.
 */
import type { SocketRecord } from '../../contracts/audit.ts'
import { formatAddress } from './addresses.ts'

export interface SocketCall {
  readonly operation: SocketRecord['operation']
  readonly errno: number
  /** Epoch milliseconds, by the sandbox's clock. */
  readonly at: number
  readonly address?: string
  readonly port?: number
}

export interface SocketMessage {
  /** Of calls that the kernel could not tell so far; wraps at 2^32. */
  readonly dropped: number
  /** Absent: of another family of sockets, or of another kind. */
  readonly call?: SocketCall
}

/** Message types, and in which field the address is. */
const kinds: Readonly<Record<number, { readonly operation: SocketCall['operation']; readonly addressField: number }>> =
  {
    24: { operation: 'bind', addressField: 6 },
    25: { operation: 'accept', addressField: 6 },
    37: { operation: 'listen', addressField: 7 },
  }
const headerBytes = 8
const field = { context: 1, exit: 2, family: 8 } as const
const inet = 2
const inet6 = 10
/** Nobody has come yet, or a signal has: the call is made again. */
const notYet = new Set([4, 11, 512, 513, 514, 516])

type Fields = ReadonlyMap<number, bigint | Buffer>

/** @throws RangeError for what is cut off. */
const readVarint = (bytes: Buffer, at: number): [bigint, number] => {
  let value = 0n
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = bytes.readUInt8(at++)
    value |= BigInt(byte & 0x7f) << shift
    if (byte < 0x80) return [BigInt.asIntN(64, value), at]
  }
  throw new RangeError('a number without an end')
}

/** The last of each number counts. @throws RangeError for what is none. */
const readFields = (bytes: Buffer): Fields => {
  const fields = new Map<number, bigint | Buffer>()
  let at = 0
  while (at < bytes.length) {
    const [tag, afterTag] = readVarint(bytes, at)
    const [value, afterValue] = readVarint(bytes, afterTag)
    const number = Number(tag >> 3n)
    at = afterValue
    if ((tag & 7n) === 0n) fields.set(number, value)
    else if ((tag & 7n) === 2n && value >= 0n && value <= BigInt(bytes.length - at)) {
      fields.set(number, bytes.subarray(at, at + Number(value)))
      at += Number(value)
    } else throw new RangeError('no field that is expected here')
  }
  return fields
}

const numberIn = (fields: Fields, at: number): number => {
  const value = fields.get(at)
  return typeof value === 'bigint' ? Number(value) : 0
}
const bytesIn = (fields: Fields, at: number): Buffer => {
  const value = fields.get(at)
  return value instanceof Buffer ? value : Buffer.alloc(0)
}

/** Of a `sockaddr`. */
const readAddress = (bytes: Buffer): Pick<SocketCall, 'address' | 'port'> & { readonly family: number } => {
  const family = bytes.length >= 2 ? bytes.readUInt16LE(0) : 0
  if (family === inet && bytes.length >= 8)
    return { family, port: bytes.readUInt16BE(2), address: formatAddress([...bytes.subarray(4, 8)]) }
  if (family === inet6 && bytes.length >= 24)
    return { family, port: bytes.readUInt16BE(2), address: formatAddress([...bytes.subarray(8, 24)]) }
  return { family }
}

/** @throws RangeError for what no kernel of ours writes. */
export const readSocketMessage = (message: Buffer): SocketMessage => {
  const size = message.readUInt16LE(0)
  const kind = kinds[message.readUInt16LE(2)]
  const dropped = message.readUInt32LE(4)
  if (size < headerBytes || size > message.length) throw new RangeError('a header that is longer than its message')
  if (!kind) return { dropped }
  const fields = readFields(message.subarray(size))
  const exit = readFields(bytesIn(fields, field.exit))
  const errno = numberIn(exit, 2)
  const { family, ...where } = readAddress(bytesIn(fields, kind.addressField))
  const known = family || numberIn(fields, kind.operation === 'listen' ? field.family : 0)
  // Who accepts without asking who it is has no address here, and may be of any family.
  const ours = known === inet || known === inet6 || (known === 0 && kind.operation === 'accept')
  if (!ours || notYet.has(errno)) return { dropped }
  const at = numberIn(readFields(bytesIn(fields, field.context)), 1) / 1e6
  return { dropped, call: { operation: kind.operation, errno, at, ...where } }
}
