/** Pure: names and addresses of slots, derived from the installation's name alone, so that what a killed agent left is known by it. */
import { createHash } from 'node:crypto'
import { parseCidr } from '../../contracts/network.ts'

/** Shared address space (RFC 6598): no host on the internet, and seldom a private network. Installations take different parts of it. */
const shared = { first: [100, 64] as const, blocks: 1024, blockBits: 12 }

/** Addresses at the end of a block on which functions reach what they are bound to. */
const proxyCount = 16

/** Slots of one block: the first address is the resolver's, the last one nobody's. */
export const maxSlots = 2 ** shared.blockBits - 3 - proxyCount

export interface AddressPlan {
  /** Begins the names of all interfaces. */
  readonly prefix: string
  /** Interface with the addresses of gateway and resolver. */
  readonly gatewayName: string
  readonly gateway4: readonly number[]
  readonly gateway6: readonly number[]
  /** Of the host's too, by the number of the binding. */
  readonly proxies4: readonly (readonly number[])[]
  /** What all slots are in. */
  readonly subnet4: { readonly bytes: readonly number[]; readonly bits: number }
  readonly subnet6: { readonly bytes: readonly number[]; readonly bits: number }
}

export interface SlotAddresses {
  readonly name: string
  readonly v4: readonly number[]
  readonly v6: readonly number[]
  /** Of the sandbox's end. */
  readonly mac: readonly number[]
  /** Of the host's end. */
  readonly hostMac: readonly number[]
}

/** @param block 0 to 1023; the caller tries the next one when another network of the machine has it. */
export const addressPlan = (installation: string, block = firstBlock(installation)): AddressPlan => {
  const hash = createHash('sha256').update(installation).digest()
  const prefix = `fy${hash.toString('hex', 0, 3)}-`
  const third = block * 2 ** shared.blockBits
  const base4 = [shared.first[0], shared.first[1] + (third >> 16), (third >> 8) & 0xff, third & 0xff]
  const base6 = [0xfd, ...hash.subarray(3, 8), ...Array<number>(10).fill(0)]
  return {
    prefix,
    gatewayName: `${prefix}gw`,
    gateway4: [...base4.slice(0, 3), 1],
    gateway6: [...base6.slice(0, 15), 1],
    proxies4: Array.from({ length: proxyCount }, (_, at) => inBlock(base4, maxSlots + 2 + at)),
    subnet4: { bytes: base4, bits: 32 - shared.blockBits },
    subnet6: { bytes: base6, bits: 64 },
  }
}

export const firstBlock = (installation: string): number =>
  createHash('sha256').update(installation).digest().readUInt16BE(8) % shared.blocks

export const blockCount = shared.blocks

/** The address so many after the block's first. */
const inBlock = ([a = 0, b = 0, c = 0]: readonly number[], at: number): number[] => [a, b, c + (at >> 8), at & 0xff]

/** @param number 1 to `maxSlots` */
export const slotAddresses = (plan: AddressPlan, number: number): SlotAddresses => {
  const at = number + 1
  const low = [at >> 8, at & 0xff] as const
  const v4 = inBlock(plan.subnet4.bytes, at)
  return {
    name: `${plan.prefix}${number}`,
    v4,
    v6: [...plan.subnet6.bytes.slice(0, 14), ...low],
    mac: [2, 0xf0, ...v4],
    hostMac: [2, 0xf1, ...v4],
  }
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')

export const formatMac = (mac: readonly number[]): string => mac.map(hex).join(':')

/** IPv6 written out in full. */
export const formatAddress = (bytes: readonly number[]): string =>
  bytes.length === 4
    ? bytes.join('.')
    : Array.from({ length: 8 }, (_, at) => `${hex(bytes[at * 2] ?? 0)}${hex(bytes[at * 2 + 1] ?? 0)}`).join(':')

/** Of an event or an answer: 16 bytes, IPv4 mapped. */
export const formatMapped = (bytes: Buffer, family: 4 | 6): string =>
  formatAddress([...(family === 4 ? bytes.subarray(12) : bytes)])

export interface Network {
  readonly bytes: readonly number[]
  readonly bits: number
}

/** Is all of the second in the first? An address is a prefix of its whole length. */
export const covers = (range: Network, { bytes, bits }: Network): boolean => {
  if (range.bytes.length !== bytes.length || range.bits > bits) return false
  for (let bit = 0; bit < range.bits; bit++) {
    const mask = 0x80 >> (bit & 7)
    if (((range.bytes[bit >> 3] ?? 0) & mask) !== ((bytes[bit >> 3] ?? 0) & mask)) return false
  }
  return true
}

/** Do two prefixes have an address in common? Then one is in the other. */
export const overlaps = (a: Network, b: Network): boolean => covers(a, b) || covers(b, a)

/** Undefined for what is no address or prefix (`default` of a route among it). */
export const networkOf = (text: string): Network | undefined => parseCidr(text)
