/** Bindings that open addresses as they are, as rules of a network policy. */
import type { InternetBinding, SubnetBinding } from './bindings.ts'
import type { NetworkRule } from './network.ts'

/**
 * Ranges of IPv4 that are not routed publicly. https://www.iana.org/assignments/iana-ipv4-special-registry
 * What is the platform's or the host's own no rule opens anyway.
 */
const special4 =
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4'.split(
    ' ',
  )

interface Range {
  readonly from: number
  readonly to: number
}

const rangeOf = (cidr: string): Range => {
  const [address = '', bits = '32'] = cidr.split('/')
  const from = address.split('.').reduce((value, part) => value * 256 + Number(part), 0)
  return { from, to: from + 2 ** (32 - Number(bits)) - 1 }
}

const dotted = (value: number): string => [24, 16, 8, 0].map((shift) => (value / 2 ** shift) & 255).join('.')

/** The fewest prefixes that are exactly this range. */
const prefixesOf = ({ from, to }: Range): string[] => {
  const prefixes: string[] = []
  for (let at = from; at <= to;) {
    let size = 1
    while (at % (size * 2) === 0 && at + size * 2 - 1 <= to) size *= 2
    prefixes.push(`${dotted(at)}/${32 - Math.log2(size)}`)
    at += size
  }
  return prefixes
}

/** Allowed and not denied by exception: a denial would win over what a policy, or another binding, opens. */
const public4 = (): string[] => {
  const holes = special4.map(rangeOf).toSorted((a, b) => a.from - b.from)
  const ends = [...holes, { from: 2 ** 32, to: 2 ** 32 }]
  return ends.flatMap(({ from }, at) => prefixesOf({ from: at === 0 ? 0 : (holes[at - 1]?.to ?? 0) + 1, to: from - 1 }))
}

/** Global unicast is 2000::/3; private addresses (fc00::/7) are not in it. */
export const publicPrefixes: readonly string[] = [...public4(), '2000::/3']

export const openedRules = (binding: InternetBinding | SubnetBinding): NetworkRule[] => {
  const { protocol = 'tcp', ports } = binding
  const cidrs = binding.type === 'internet' ? publicPrefixes : binding.cidrs
  return cidrs.map((cidr) => ({ action: 'allow', protocol, cidr, ...(ports ? { ports } : {}) }))
}

/** Names that may be resolved with it. */
export const openedNames = (binding: InternetBinding | SubnetBinding): readonly string[] =>
  binding.type === 'internet' ? ['*'] : (binding.dns ?? [])
