import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readSocketMessage } from './socket-message.ts'

const varint = (value: bigint): number[] => {
  const bytes: number[] = []
  for (let left = BigInt.asUintN(64, value); ; left >>= 7n) {
    const byte = Number(left & 0x7fn)
    if (left < 0x80n) return [...bytes, byte]
    bytes.push(byte | 0x80)
  }
}
const number = (at: number, value: number | bigint): number[] => [at << 3, ...varint(BigInt(value))]
const bytes = (at: number, value: readonly number[]): number[] => [
  (at << 3) | 2,
  ...varint(BigInt(value.length)),
  ...value,
]
const message = (type: number, fields: readonly number[], dropped = 0): Buffer => {
  const header = Buffer.alloc(8)
  header.writeUInt16LE(8, 0)
  header.writeUInt16LE(type, 2)
  header.writeUInt32LE(dropped, 4)
  return Buffer.concat([header, Buffer.from(fields)])
}
const context = bytes(1, number(1, 1_700_000_000_123_000_000n))
const exit = (errno: number, result = 0) => bytes(2, [...number(1, result), ...number(2, errno)])
const v4 = [2, 0, 0x1f, 0x90, 192, 0, 2, 7]
const v6 = [10, 0, 0x01, 0xbb, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 1, 0, 0, 0, 0]
const at = 1_700_000_000_123

describe('a message of a sandbox’s kernel', () => {
  it('tells of bind with its address, also when it was refused', () => {
    const fields = [...context, ...exit(98, -1), ...number(3, 49), ...number(4, -1), ...bytes(6, v4)]
    expect(readSocketMessage(message(24, fields, 3))).toEqual({
      dropped: 3,
      call: { operation: 'bind', errno: 98, at, address: '192.0.2.7', port: 8080 },
    })
  })

  it('tells of listen with the address of the socket, and of accept with that of who came', () => {
    const listen = [...context, ...exit(0), ...number(4, 7), ...number(6, 511), ...bytes(7, v6), ...number(8, 10)]
    const address = '2001:0db8:0000:0000:0000:0000:0000:0001'
    expect(readSocketMessage(message(37, listen)).call).toEqual({
      operation: 'listen',
      errno: 0,
      at,
      address,
      port: 443,
    })
    const accept = [...context, ...exit(0, 9), ...number(4, 7), ...bytes(6, v4)]
    expect(readSocketMessage(message(25, accept)).call).toMatchObject({ operation: 'accept', address: '192.0.2.7' })
    // Who does not ask is not told.
    expect(readSocketMessage(message(25, [...context, ...exit(0, 9)])).call).toEqual({
      operation: 'accept',
      errno: 0,
      at,
    })
  })

  it.each<[string, Buffer]>([
    ['a Unix socket', message(24, [...context, ...exit(0), ...bytes(6, [1, 0, 0x2f, 0x61])])],
    ['a listening Unix socket', message(37, [...context, ...exit(0), ...number(8, 1)])],
    ['nobody who has come yet', message(25, [...context, ...exit(11, -1)])],
    ['another system call', message(3, context)],
  ])('says nothing of %s', (_what, bytesOfIt) => {
    expect(readSocketMessage(bytesOfIt)).toEqual({ dropped: 0 })
  })

  it('that is none is refused, whatever it is', () => {
    const any = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.uint8Array({ maxLength: 64 }).map((tail) => message(24, [...tail])),
    )
    fc.assert(
      fc.property(any, (noise) => {
        try {
          readSocketMessage(Buffer.from(noise))
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }),
    )
    expect(() => readSocketMessage(message(24, bytes(2, [0x80])))).toThrow(RangeError)
    expect(() => readSocketMessage(message(24, [0x32, 200]))).toThrow(RangeError)
  })
})
