/**
 * What a function may reach, and what may reach it. Bucket `network`, key `<tenant>.<name>`; without a policy the function has no network. It
 * belongs to the function, not to a version: a change applies to every instance at once, to flows that live too.
 */
import ipaddr from 'ipaddr.js'
import { Type, type Static } from 'typebox'
import { PlatformError } from './errors.ts'

export const maxNetworkRules = 10_000

/** `443` or `"8000-8080"`. */
export const PortOrRange = Type.Union([
  Type.Integer({ minimum: 0, maximum: 65_535 }),
  Type.String({ pattern: String.raw`^\d{1,5}(-\d{1,5})?$` }),
])

/** `example.com`, or `*.example.com` for every name below it; `*` is every name. */
export const NamePattern = Type.String({
  pattern: String.raw`^(\*|(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,62})\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))$`,
  maxLength: 253,
})

export const NetworkRule = Type.Object(
  {
    /** Where both apply, `deny` wins. What no rule allows is denied. */
    action: Type.Enum(['allow', 'deny']),
    /** Seen from the function: who begins the flow. Replies need no rule. */
    direction: Type.Optional(Type.Enum(['egress', 'ingress'])),
    /** `icmp`: echo, in IPv6 too. */
    protocol: Type.Enum(['tcp', 'udp', 'icmp', 'any']),
    /** The other side: `10.0.0.0/8`, `2001:db8::1`. Exactly one of `cidr` and `name`. */
    cidr: Type.Optional(Type.String({ maxLength: 64 })),
    /** Whatever the name resolves to, for as long as the answer holds; it may be resolved then. Only for egress. */
    name: Type.Optional(NamePattern),
    /** `443` or `"8000-8080"`; of the other side for egress, of the function for ingress. Absent: all. */
    ports: Type.Optional(Type.Array(PortOrRange, { minItems: 1, maxItems: 1000 })),
  },
  { additionalProperties: false },
)
export type NetworkRule = Static<typeof NetworkRule>

export const NetworkPolicy = Type.Object(
  {
    rules: Type.Array(NetworkRule, { maxItems: maxNetworkRules }),
    /** Names that may be resolved, besides those of rules. Resolving opens nothing. */
    dns: Type.Optional(Type.Array(NamePattern, { maxItems: 1000 })),
    limits: Type.Optional(
      Type.Object(
        {
          /** Of each instance, in each direction. */
          bytesPerSecond: Type.Optional(Type.Integer({ minimum: 65_536, maximum: 1e11 })),
          /** Flows that an instance begins or takes. */
          flowsPerSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
)
export type NetworkPolicy = Static<typeof NetworkPolicy>

export const NetworkPolicyRecord = Type.Object(
  {
    policy: NetworkPolicy,
    /** ISO 8601. */
    lastModified: Type.String(),
  },
  { additionalProperties: false },
)
export type NetworkPolicyRecord = Static<typeof NetworkPolicyRecord>

/** As it lies in the bucket. One that was taken away leaves its number: an earlier policy, put back there, is known by a lower one. */
export const StoredNetworkPolicy = Type.Object(
  {
    policy: Type.Union([NetworkPolicy, Type.Null()]),
    lastModified: Type.String(),
    /** Higher with each change: the time in epoch milliseconds, or one more than before. */
    serial: Type.Integer({ minimum: 0 }),
    /** Of the installation (`chassis/signing.ts`), for `networkPlace`. */
    signature: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type StoredNetworkPolicy = Static<typeof StoredNetworkPolicy>

/** What its signature is for: the functions' own entries have the same keys, in another bucket. */
export const networkPlace = (key: string): string => `network/${key}`

export interface Cidr {
  readonly family: 4 | 6
  /** 4 or 16. */
  readonly bytes: readonly number[]
  readonly bits: number
}

/** An address alone is a prefix of its whole length. @returns undefined for anything else, host bits behind the prefix among it. */
export const parseCidr = (text: string): Cidr | undefined => {
  // The library also takes octal, hexadecimal and shortened forms, which people read in different ways.
  const [address = '', length] = text.split('/')
  const family = ipaddr.IPv4.isValidFourPartDecimal(address) ? 4 : ipaddr.IPv6.isValid(address) ? 6 : undefined
  if (!family || address.includes('%') || text.split('/').length > 2) return undefined
  const parsed = ipaddr.parse(address)
  if (parsed.kind() === 'ipv6' && (parsed as ipaddr.IPv6).isIPv4MappedAddress()) return undefined
  const bytes = parsed.toByteArray()
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return undefined
  const bits = length === undefined ? bytes.length * 8 : Number(length)
  if (bits > bytes.length * 8) return undefined
  const isHostBit = (bit: number) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0
  for (let bit = bits; bit < bytes.length * 8; bit++) if (isHostBit(bit)) return undefined
  return { family, bytes, bits }
}

/** First and last. @throws PlatformError INVALID_REQUEST */
export const portRange = (port: number | string, where = 'ports'): readonly [number, number] => {
  const [first = '', last = first] = String(port).split('-')
  const range = [Number(first), Number(last)] as const
  if (range[0] > range[1] || range[1] > 65_535)
    throw invalid(where, `${port} is no range of ports: two numbers up to 65535, the lower first`)
  return range
}

/** What the schema cannot say. @throws PlatformError INVALID_REQUEST naming the rule. */
export const checkNetworkPolicy = (policy: NetworkPolicy): void => {
  for (const [index, rule] of policy.rules.entries()) {
    const where = `rules[${index}]`
    const { cidr, name, ports, protocol, direction, action } = rule
    if ((cidr === undefined) === (name === undefined)) throw invalid(where, 'exactly one of cidr and name is needed')
    if (cidr !== undefined && !parseCidr(cidr))
      throw invalid(`${where}.cidr`, `'${cidr}' is no address or prefix without host bits`)
    if (name !== undefined && direction === 'ingress') throw invalid(where, 'a name is for egress alone')
    if (name === '*' && action === 'allow')
      throw invalid(`${where}.name`, "'*' would open every address: name 0.0.0.0/0 and ::/0 if that is meant")
    if (ports && protocol === 'icmp') throw invalid(where, 'icmp has no ports')
    for (const port of ports ?? []) portRange(port, `${where}.ports`)
  }
}

const invalid = (where: string, problem: string): PlatformError =>
  new PlatformError('INVALID_REQUEST', `${where}: ${problem}`, { key: where })

/** Does the pattern of a rule say something about this name? Both in any case, the name perhaps with its last dot. */
export const matchesName = (pattern: string, name: string): boolean => {
  const wanted = pattern.toLowerCase()
  const asked = name.toLowerCase().replace(/\.$/, '')
  if (wanted === '*') return true
  return wanted.startsWith('*.')
    ? asked.endsWith(wanted.slice(1)) && asked.length > wanted.length - 1
    : asked === wanted
}
