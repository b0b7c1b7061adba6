/** Frames that no honest sandbox sends, each for one thing that a filter could get wrong. Made for the sandbox's end of a slot. */
import ipaddr from 'ipaddr.js'
import { checksum, virtioHeader } from './raw-frames.ts'

export interface Ends {
  readonly mac: readonly number[]
  readonly hostMac: readonly number[]
  /** Of the sandbox. */
  readonly own4: string
  readonly own6: string
  /** Somebody who may be reached. */
  readonly peer4: string
  readonly peer6: string
  /** Another sandbox. */
  readonly other4: string
  readonly other6: string
}

const bytesOf = (address: string): number[] => ipaddr.parse(address).toByteArray()
const u16 = (number: number): number[] => [number >> 8, number & 0xff]

const frame = (to: readonly number[], from: readonly number[], type: number, payload: readonly number[]): Buffer =>
  Buffer.concat([virtioHeader, Buffer.from([...to, ...from, ...u16(type), ...payload])])

interface V4 {
  readonly source: string
  readonly target: string
  readonly protocol?: number
  readonly payload?: readonly number[]
  readonly options?: readonly number[]
  /** Flags and offset as on the wire. */
  readonly fragment?: number
}

const udp = (port: number, text = 'frame'): number[] => [
  ...u16(4000),
  ...u16(port),
  ...u16(8 + text.length),
  0,
  0,
  ...Buffer.from(text),
]
const tcpSyn = (port: number): number[] => [
  ...u16(4000),
  ...u16(port),
  0,
  0,
  0,
  1,
  0,
  0,
  0,
  0,
  0x50,
  2,
  0xff,
  0xff,
  0,
  0,
  0,
  0,
]
const port = 7001

const ipv4 = ({ source, target, protocol = 17, payload = udp(port), options = [], fragment = 0 }: V4): number[] => {
  const length = 20 + options.length
  const header = Buffer.from([
    0x40 | (length / 4),
    0,
    ...u16(length + payload.length),
    ...u16(99),
    ...u16(fragment),
    64,
    protocol,
    0,
    0,
    ...bytesOf(source),
    ...bytesOf(target),
    ...options,
  ])
  header.writeUInt16BE(checksum(header), 10)
  return [...header, ...payload]
}

interface V6 {
  readonly source: string
  readonly target: string
  readonly next?: number
  readonly payload?: readonly number[]
}

const ipv6 = ({ source, target, next = 17, payload = udp(port) }: V6): number[] => [
  0x60,
  0,
  0,
  0,
  ...u16(payload.length),
  next,
  64,
  ...bytesOf(source),
  ...bytesOf(target),
  ...payload,
]

/** The fragment header of IPv6. @param offset in bytes */
const fragment6 = (next: number, offset: number, more: boolean, id: number): number[] => [
  next,
  0,
  ...u16(offset | (more ? 1 : 0)),
  0,
  0,
  0,
  id,
]

const broadcast = Array<number>(6).fill(0xff)
const v4 = 0x0800
const v6 = 0x86dd

/** They pass: the filter knows who sends them, and a rule allows it. */
export const honestFrames = ({ mac, hostMac, own4, own6, peer4, peer6 }: Ends): Readonly<Record<string, Buffer>> => ({
  'udp over IPv4': frame(hostMac, mac, v4, ipv4({ source: own4, target: peer4 })),
  'udp over IPv6': frame(hostMac, mac, v6, ipv6({ source: own6, target: peer6 })),
  'tcp over IPv4': frame(hostMac, mac, v4, ipv4({ source: own4, target: peer4, protocol: 6, payload: tcpSyn(port) })),
  'tcp over IPv6': frame(hostMac, mac, v6, ipv6({ source: own6, target: peer6, next: 6, payload: tcpSyn(port) })),
})

export const hostileFrames = (ends: Ends): Readonly<Record<string, Buffer>> => {
  const { mac, hostMac, own4, own6, peer4, peer6, other4, other6 } = ends
  const over4 = (of: Partial<V4>) => frame(hostMac, mac, v4, ipv4({ source: own4, target: peer4, ...of }))
  const over6 = (of: Partial<V6>) => frame(hostMac, mac, v6, ipv6({ source: own6, target: peer6, ...of }))
  const arp = (operation: number, address: string) =>
    [[0, 1, 8, 0, 6, 4], u16(operation), mac, bytesOf(address), broadcast, bytesOf(own4)].flat()
  const neighbour = (type: number, about: string) =>
    over6({ next: 58, payload: [type, 0, 0, 0, 0xe0, 0, 0, 0, ...bytesOf(about), 2, 1, ...mac] })
  const inner4 = ipv4({ source: own4, target: '169.254.169.254' })
  return {
    'source address of another sandbox': over4({ source: other4 }),
    'source address of the peer': over4({ source: peer4 }),
    'source address of nobody': over4({ source: '0.0.0.0' }),
    'IPv6 source address of another sandbox': over6({ source: other6 }),
    'IPv6 source address of the peer': over6({ source: peer6 }),
    'IPv6 link-local source address': over6({ source: 'fe80::1' }),
    'MAC of another sandbox': frame(
      hostMac,
      [...mac.slice(0, 5), (mac[5] ?? 0) ^ 1],
      v4,
      ipv4({ source: own4, target: peer4 }),
    ),
    'MAC of the host': frame(hostMac, hostMac, v4, ipv4({ source: own4, target: peer4 })),
    'MAC of another sandbox, IPv6': frame(hostMac, [2, 0, 0, 0, 0, 9], v6, ipv6({ source: own6, target: peer6 })),
    'ARP question': frame(broadcast, mac, 0x0806, arp(1, own4)),
    'ARP claim to be another sandbox': frame(broadcast, mac, 0x0806, arp(2, other4)),
    'neighbour solicitation': neighbour(135, peer6),
    'neighbour advertisement for another sandbox': neighbour(136, other6),
    'router advertisement': over6({ next: 58, payload: [134, 0, 0, 0, 64, 0, 7, 8, ...Array<number>(8).fill(0)] }),
    'VLAN tag': frame(hostMac, mac, 0x8100, [...u16(5), ...u16(v4), ...ipv4({ source: own4, target: peer4 })]),
    'two VLAN tags': frame(hostMac, mac, 0x88a8, [
      ...u16(5),
      ...u16(0x8100),
      ...u16(6),
      ...u16(v4),
      ...ipv4({ source: own4, target: peer4 }),
    ]),
    MPLS: frame(hostMac, mac, 0x8847, [0, 0, 0x11, 64, ...ipv4({ source: own4, target: peer4 })]),
    LLDP: frame([1, 0x80, 0xc2, 0, 0, 0x0e], mac, 0x88cc, Array<number>(46).fill(0)),
    'IPv6 in a frame for IPv4': frame(hostMac, mac, v4, ipv6({ source: own6, target: peer6 })),
    'IPv4 in a frame for IPv6': frame(
      hostMac,
      mac,
      v6,
      ipv4({ source: own4, target: peer4, payload: Array<number>(40).fill(0) }),
    ),
    'source route': over4({ options: [0x83, 7, 4, ...bytesOf('169.254.169.254'), 0] }),
    'router alert': over4({ options: [0x94, 4, 0, 0] }),
    'later fragment without a first one': over4({ fragment: 0x0004, payload: Array<number>(16).fill(1) }),
    'first fragment that ends in its header': over4({ fragment: 0x2000, payload: udp(port).slice(0, 4) }),
    'first fragment of TCP without its flags': over4({
      fragment: 0x2000,
      protocol: 6,
      payload: tcpSyn(port).slice(0, 8),
    }),
    'IPv6 later fragment without a first one': over6({
      next: 44,
      payload: [...fragment6(17, 64, false, 5), ...udp(port)],
    }),
    'IPv6 first fragment that ends in its header': over6({ next: 44, payload: [...fragment6(17, 0, true, 6), 1, 2] }),
    'fragment header in a fragment': over6({
      next: 44,
      payload: [...fragment6(44, 0, true, 7), ...fragment6(17, 0, true, 8), ...udp(port)],
    }),
    'hop-by-hop options': over6({ next: 0, payload: [17, 0, 5, 2, 0, 0, 0, 0, ...udp(port)] }),
    'routing header': over6({ next: 43, payload: [17, 2, 0, 1, 0, 0, 0, 0, ...bytesOf(other6), ...udp(port)] }),
    'destination options': over6({ next: 60, payload: [17, 0, 1, 4, 0, 0, 0, 0, ...udp(port)] }),
    'IPv4 in IPv4': over4({ protocol: 4, payload: inner4 }),
    'IPv6 in IPv4': over4({ protocol: 41, payload: ipv6({ source: own6, target: peer6 }) }),
    'IPv4 in IPv6': over6({ next: 4, payload: inner4 }),
    GRE: over4({ protocol: 47, payload: [0, 0, ...u16(v4), ...inner4] }),
    SCTP: over4({ protocol: 132, payload: tcpSyn(port) }),
    ESP: over6({ next: 50, payload: tcpSyn(port) }),
    IGMP: over4({ target: '224.0.0.22', protocol: 2, payload: [0x22, 0, 0, 0, 0, 0, 0, 0] }),
    multicast: over4({ target: '239.1.1.1' }),
    broadcast: over4({ target: '255.255.255.255' }),
    'ICMP redirect': over4({ protocol: 1, payload: [5, 1, 0, 0, ...bytesOf(other4), ...inner4] }),
    'ICMP address mask question': over4({ protocol: 1, payload: [17, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0] }),
    'ICMP “unreachable” about nobody’s flow': over4({ protocol: 1, payload: [3, 1, 0, 0, 0, 0, 0, 0, ...inner4] }),
    'ICMPv6 in IPv4': over4({ protocol: 58, payload: [128, 0, 0, 0, 0, 1, 0, 1] }),
    'ICMP in IPv6': over6({ next: 1, payload: [8, 0, 0, 0, 0, 1, 0, 1] }),
    'UDP that ends in its header': over4({ payload: [0, 1, 2] }),
    'IPv4 that ends in its header': frame(hostMac, mac, v4, ipv4({ source: own4, target: peer4 }).slice(0, 12)),
  }
}
