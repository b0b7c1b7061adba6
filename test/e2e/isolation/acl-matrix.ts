/** Who could meet a function over the network, in every way that packets go; and what policies say about it. */
import type { NetworkPolicy } from '../../../services/contracts/network.ts'
import type { TrafficTarget } from '../../support/traffic-target.ts'
import { servedPort, type Addresses } from '../reach.ts'

export const protocols = ['tcp', 'udp', 'icmp'] as const
export type Protocol = (typeof protocols)[number]
export const families = [4, 6] as const

/** Of clouds: link-local, and AWS's in IPv6. */
export const metadata = { 4: '169.254.169.254', 6: 'fd00:ec2::254' } as const

export interface Peer {
  readonly name: string
  readonly addresses: Addresses
  readonly port: number
  /** Absent: all. Who shares an address with another peer answers no echo of its own. */
  readonly protocols?: readonly Protocol[]
}

/** An attempt, named `<protocol><family> <peer>`. */
export interface Cell {
  readonly name: string
  readonly protocol: Protocol
  readonly to: string
  readonly port: number
  readonly source?: string
}

export const cellsTo = (peers: readonly Peer[]): Cell[] =>
  peers.flatMap(({ name, addresses, port, protocols: some = protocols }) =>
    some.flatMap((protocol) =>
      families.map((family) => ({ name: `${protocol}${family} ${name}`, protocol, to: addresses[family], port })),
    ),
  )

/** From a peer to the function at these addresses. */
export const cellsFrom = (name: string, source: Addresses | undefined, to: Addresses): Cell[] =>
  protocols.flatMap((protocol) =>
    families.map((family) => ({
      name: `${protocol}${family} from ${name}`,
      protocol,
      to: to[family],
      port: servedPort,
      ...(source ? { source: source[family] } : {}),
    })),
  )

export type Outcome = 'reached' | 'silent' | (string & {})

/** An answer that nobody is there came from there too. */
export const outcomesOf = (cells: readonly Cell[], told: readonly string[]): Record<string, Outcome> =>
  Object.fromEntries(
    cells.map(({ name }, at) => {
      const outcome = told[at] ?? 'nothing'
      return [name, outcome === 'answered' || outcome === 'refused' ? 'reached' : outcome]
    }),
  )

/** What the matrix should be: these are reached, all others are silent. */
export const expectedOf = (cells: readonly Cell[], reached: readonly string[]): Record<string, Outcome> => {
  const unknown = reached.filter((name) => !cells.some((cell) => cell.name === name))
  if (unknown.length > 0) throw new Error(`no cells of the matrix: ${unknown.join(', ')}`)
  return Object.fromEntries(cells.map(({ name }) => [name, reached.includes(name) ? 'reached' : 'silent']))
}

const everywhere = ['0.0.0.0/0', '::/0'] as const
const allInternet = protocols.flatMap((protocol) => families.map((family) => `${protocol}${family} internet`))
const fromInternet = allInternet.map((name) => name.replace(' ', ' from '))
const allOfHost = protocols.flatMap((protocol) => families.map((family) => `${protocol}${family} host`))

export interface Round {
  readonly name: string
  readonly policy: NetworkPolicy
  readonly reached: readonly string[]
}

export const wide: NetworkPolicy = {
  rules: everywhere.flatMap((cidr) => [
    { action: 'allow', protocol: 'any', cidr } as const,
    { action: 'allow', direction: 'ingress', protocol: 'any', cidr } as const,
  ]),
}

export const roundsOf = ({ address4, address6, host4, host6 }: TrafficTarget): Round[] => [
  { name: 'allows nothing', policy: { rules: [] }, reached: [] },
  { name: 'allows everything', policy: wide, reached: [...allInternet, ...fromInternet] },
  {
    name: 'allows one port, one echo and one way in',
    policy: {
      rules: [
        { action: 'allow', protocol: 'tcp', cidr: address4, ports: [7001] },
        { action: 'allow', protocol: 'udp', cidr: address6, ports: ['7000-7001'] },
        { action: 'allow', protocol: 'icmp', cidr: address4 },
        { action: 'allow', direction: 'ingress', protocol: 'tcp', cidr: address6, ports: [servedPort] },
        { action: 'allow', direction: 'ingress', protocol: 'udp', cidr: address4, ports: [servedPort + 1] },
        { action: 'allow', direction: 'ingress', protocol: 'icmp', cidr: address6 },
      ],
    },
    reached: ['tcp4 internet', 'udp6 internet', 'icmp4 internet', 'tcp6 from internet', 'icmp6 from internet'],
  },
  {
    name: 'takes some of everything back',
    policy: {
      rules: [
        { action: 'deny', protocol: 'icmp', cidr: '::/0' },
        { action: 'deny', protocol: 'udp', cidr: address4, ports: ['7000-8000'] },
        { action: 'deny', direction: 'ingress', protocol: 'tcp', cidr: '0.0.0.0/0' },
        { action: 'deny', direction: 'ingress', protocol: 'any', cidr: `${address6}/128` },
        ...wide.rules,
      ],
    },
    reached: [
      ...allInternet.filter((name) => name !== 'icmp6 internet' && name !== 'udp4 internet'),
      'udp4 from internet',
      'icmp4 from internet',
    ],
  },
  {
    name: 'names the host’s own addresses',
    policy: {
      rules: [host4, host6].flatMap((cidr) => [
        { action: 'allow', protocol: 'any', cidr } as const,
        { action: 'allow', direction: 'ingress', protocol: 'any', cidr } as const,
      ]),
    },
    // The gateway is everybody's door, and asks for a signature.
    reached: [
      ...allOfHost,
      ...allOfHost.map((name) => name.replace(' ', ' from ')),
      ...families.flatMap((family) => [`tcp${family} admin API`, `udp${family} admin API`]),
    ],
  },
]
