/** Pure: the bytes of the filter's maps, as `filter/layout.h` has them. Little-endian, but ports and addresses in network order. */
import { protocolNumbers, portPrefixes, type CompiledPolicy, type PortSet } from './compile-policy.ts'

/** Entries of a map, one after the other. */
export interface Entries {
  readonly count: number
  readonly keys: Buffer
  readonly values: Buffer
}

export const mapBytes = { events: 4 * 1024 * 1024 } as const
export const directions = { egress: 1, ingress: 2 } as const
const verdicts = { allow: 1, deny: 2 } as const
export const guardKinds = { never: 1, exact: 2 } as const
const guardPorts = 6
const ruleBits = 192
const portBits = 64
const guardBits = 160

/** 16 bytes; IPv4 as ::ffff:a.b.c.d. */
export const mapped = (bytes: readonly number[]): Buffer =>
  bytes.length === 16 ? Buffer.from(bytes) : Buffer.from([...Buffer.alloc(10), 0xff, 0xff, ...bytes])

const u32 = (...numbers: readonly number[]): Buffer => {
  const buffer = Buffer.alloc(numbers.length * 4)
  numbers.forEach((number, at) => buffer.writeUInt32LE(number, at * 4))
  return buffer
}

const u64 = (...numbers: readonly (number | bigint)[]): Buffer => {
  const buffer = Buffer.alloc(numbers.length * 8)
  numbers.forEach((number, at) => buffer.writeBigUInt64LE(BigInt(number), at * 8))
  return buffer
}

const u16be = (number: number): Buffer => Buffer.from([number >> 8, number & 0xff])

export const entriesOf = (entries: readonly (readonly [Buffer, Buffer])[]): Entries => ({
  count: entries.length,
  keys: Buffer.concat(entries.map(([key]) => key)),
  values: Buffer.concat(entries.map(([, value]) => value)),
})

export interface SlotRecord {
  readonly lease: number
  readonly policy: number
  readonly v4: readonly number[]
  readonly v6: readonly number[]
  readonly mac: readonly number[]
  readonly bytesPerSecond?: number | undefined
  readonly flowsPerSecond?: number | undefined
}

/** What a bucket holds: a second's worth, and never less than one large segment. */
const burstOf = (bytesPerSecond: number): number => Math.max(bytesPerSecond, 128 * 1024)

export const slotValue = (slot: SlotRecord): Buffer => {
  const { bytesPerSecond = 0, flowsPerSecond = 0 } = slot
  return Buffer.concat([
    u32(slot.lease, slot.policy),
    mapped(slot.v4),
    mapped(slot.v6),
    Buffer.from([...slot.mac, 0, 0]),
    u64(bytesPerSecond, bytesPerSecond === 0 ? 0 : burstOf(bytesPerSecond)),
    u32(flowsPerSecond, 0),
  ])
}

export const slotKey = (ifindex: number): Buffer => u32(ifindex)

/** Empty buckets of a slot: a second that has passed since 0 fills them. */
export const bucketEntries = (ifindex: number): Entries =>
  entriesOf([1, 2, 3, 4].map((kind) => [u32(ifindex, kind), Buffer.alloc(24)] as const))

/** @param firstSet number of the policy's first set; the others follow. */
export const ruleEntries = ({ prefixes }: CompiledPolicy, policy: number, firstSet: number): Entries =>
  entriesOf(
    prefixes.map(({ direction, prefix, set, exact }) => {
      const bits = ruleBits - 128 + (prefix.family === 4 ? 96 : 0) + prefix.bits
      const head = Buffer.from([directions[direction], prefix.family, 0, 0])
      const value = u32(firstSet + set, exact === undefined ? 0 : firstSet + exact)
      return [Buffer.concat([u32(bits, policy), head, mapped(prefix.bytes)]), value] as const
    }),
  )

export const portEntries = (set: PortSet, number: number): (readonly [Buffer, Buffer])[] =>
  set.flatMap(({ protocol, from, to, verdict }) =>
    portPrefixes(from, to).map(({ port, bits }) => {
      const key = Buffer.concat([
        u32(portBits - 16 + bits, number),
        Buffer.from([protocolNumbers[protocol], 0]),
        u16be(port),
      ])
      return [key, u32(verdicts[verdict])] as const
    }),
  )

/** @param until nanoseconds of the monotonic clock */
export const pinEntry = (
  policy: number,
  address: readonly number[],
  set: number,
  until: bigint,
): readonly [Buffer, Buffer] => [
  Buffer.concat([u32(policy), mapped(address)]),
  Buffer.concat([u32(set, 0), u64(until)]),
]

export interface Guard {
  readonly family: 4 | 6
  readonly bytes: readonly number[]
  readonly bits: number
  readonly kind: keyof typeof guardKinds
  /** Never opened, whatever the kind. */
  readonly ports?: readonly number[]
}

export const guardEntries = (guards: readonly Guard[]): Entries =>
  entriesOf(
    guards.map(({ family, bytes, bits, kind, ports = [] }) => {
      const length = guardBits - 128 + (family === 4 ? 96 : 0) + bits
      const key = Buffer.concat([u32(length), Buffer.from([family, 0, 0, 0]), mapped(bytes)])
      const list = Array.from({ length: guardPorts }, (_, at) => u16be(ports[at] ?? 0))
      return [key, Buffer.concat([u32(guardKinds[kind]), ...list])] as const
    }),
  )

export const settingsEntry = (resolver4: readonly number[], resolver6: readonly number[]): Entries =>
  entriesOf([[u32(0), Buffer.concat([mapped(resolver4), mapped(resolver6)])]])

export const eventBytes = 48
const kinds = ['', 'allowed', 'denied', 'revoked', 'spoofed', 'limited', 'malformed'] as const
const reasons = ['', 'default', 'rule', 'guarded', 'protocol', 'fragment', 'rate', 'source', 'no-policy'] as const

export interface FlowEvent {
  /** Nanoseconds of the monotonic clock. */
  readonly at: bigint
  readonly lease: number
  readonly kind: Exclude<(typeof kinds)[number], ''>
  readonly reason: (typeof reasons)[number]
  readonly direction: 'egress' | 'ingress'
  readonly protocol: number
  readonly localPort: number
  readonly remotePort: number
  readonly family: 4 | 6
  /** 16 bytes. */
  readonly remote: Buffer
}

export const readEvent = (bytes: Buffer): FlowEvent => ({
  at: bytes.readBigUInt64LE(0),
  lease: bytes.readUInt32LE(8),
  kind: kinds[bytes.readUInt8(16)] as FlowEvent['kind'],
  direction: bytes.readUInt8(17) === directions.egress ? 'egress' : 'ingress',
  protocol: bytes.readUInt8(18),
  reason: reasons[bytes.readUInt8(19)] ?? '',
  localPort: bytes.readUInt16BE(20),
  remotePort: bytes.readUInt16BE(22),
  remote: bytes.subarray(24, 40),
  family: bytes.readUInt8(44) === 4 ? 4 : 6,
})
