/**
 * Pure: a network policy as look-ups whose cost does not depend on the number of rules. Every prefix that a rule names leads to one set, which
 * holds what all rules say about the addresses in it, those of wider prefixes included: the longest match then needs no second look.
 * A set is disjoint ranges of ports, `deny` taken out of `allow`.
 */
import { parseCidr, portRange, type Cidr, type NetworkPolicy, type NetworkRule } from '../../contracts/network.ts'

export type Verdict = 'allow' | 'deny'
export const protocolNumbers = { icmp: 1, tcp: 6, udp: 17 } as const
export type Protocol = keyof typeof protocolNumbers

export interface PortRange {
  readonly protocol: Protocol
  readonly from: number
  readonly to: number
  readonly verdict: Verdict
}
export type PortSet = readonly PortRange[]

export interface CompiledPrefix {
  readonly direction: 'egress' | 'ingress'
  readonly prefix: Cidr
  /** Indexes into `sets`. `exact`: what rules for this one address say, absent when it is no single address, or they say nothing. */
  readonly set: number
  readonly exact?: number
}

export interface CompiledPolicy {
  readonly sets: readonly PortSet[]
  readonly prefixes: readonly CompiledPrefix[]
  /** Rules with a name. */
  readonly named: readonly NetworkRule[]
}

const allPorts = 65_535

interface Span {
  readonly from: number
  readonly to: number
}

/** Ascending, without overlaps and neighbours. */
const merge = (spans: readonly Span[]): Span[] => {
  const merged: { from: number; to: number }[] = []
  for (const { from, to } of spans.toSorted((a, b) => a.from - b.from)) {
    const last = merged.at(-1)
    if (last && from <= last.to + 1) last.to = Math.max(last.to, to)
    else merged.push({ from, to })
  }
  return merged
}

/** Both merged. */
const without = (spans: readonly Span[], taken: readonly Span[]): Span[] => {
  const left: Span[] = []
  for (const { from, to } of spans) {
    let at = from
    for (const hole of taken) {
      if (hole.to < at || hole.from > to) continue
      if (hole.from > at) left.push({ from: at, to: hole.from - 1 })
      at = hole.to + 1
    }
    if (at <= to) left.push({ from: at, to })
  }
  return left
}

const spansOf = (rules: readonly NetworkRule[], action: Verdict, protocol: Protocol): Span[] =>
  merge(
    rules.flatMap((rule) => {
      if (rule.action !== action || (rule.protocol !== protocol && rule.protocol !== 'any')) return []
      // A rule for any protocol with ports says nothing about echo.
      if (protocol === 'icmp') return rule.ports ? [] : [{ from: 0, to: allPorts }]
      return (rule.ports ?? [`0-${allPorts}`]).map((port) => {
        const [from, to] = portRange(port)
        return { from, to }
      })
    }),
  )

export const portSetOf = (rules: readonly NetworkRule[]): PortSet =>
  (Object.keys(protocolNumbers) as Protocol[]).flatMap((protocol) => {
    const denied = spansOf(rules, 'deny', protocol)
    const allowed = without(spansOf(rules, 'allow', protocol), denied)
    const ranges = (spans: readonly Span[], verdict: Verdict) => spans.map((span) => ({ protocol, ...span, verdict }))
    return [...ranges(allowed, 'allow'), ...ranges(denied, 'deny')]
  })

/** Text of the first `bits` bits, for look-ups. */
const keyOf = ({ family, bytes }: Cidr, bits: number): string => {
  const whole = bits >> 3
  const rest = bits & 7
  const last = rest === 0 ? '' : `.${(bytes[whole] ?? 0) & (0xff << (8 - rest))}`
  return `${family}/${bits}/${bytes.slice(0, whole).join('.')}${last}`
}

export const compilePolicy = ({ rules }: NetworkPolicy): CompiledPolicy => {
  const sets: PortSet[] = []
  const known = new Map<string, number>()
  const setOf = (of: readonly NetworkRule[]): number => {
    const set = portSetOf(of)
    const key = JSON.stringify(set)
    const found = known.get(key)
    if (found !== undefined) return found
    known.set(key, sets.length)
    return sets.push(set) - 1
  }
  const prefixes = (['egress', 'ingress'] as const).flatMap((direction) => {
    const own = rules.filter((rule) => rule.cidr !== undefined && (rule.direction ?? 'egress') === direction)
    return compileDirection(direction, own, setOf)
  })
  return { sets, prefixes, named: rules.filter(({ name }) => name !== undefined) }
}

const compileDirection = (
  direction: 'egress' | 'ingress',
  rules: readonly NetworkRule[],
  setOf: (of: readonly NetworkRule[]) => number,
): CompiledPrefix[] => {
  const byPrefix = new Map<string, { prefix: Cidr; rules: NetworkRule[] }>()
  for (const rule of rules) {
    const prefix = parseCidr(rule.cidr ?? '')
    if (!prefix) continue
    const key = keyOf(prefix, prefix.bits)
    const entry = byPrefix.get(key) ?? { prefix, rules: [] }
    byPrefix.set(key, entry)
    entry.rules.push(rule)
  }
  const lengths = [...new Set([...byPrefix.values()].map(({ prefix }) => prefix.bits))]
  return [...byPrefix.values()].map(({ prefix, rules: own }) => {
    const wider = lengths.filter((bits) => bits < prefix.bits)
    const inherited = wider.flatMap((bits) => byPrefix.get(keyOf(prefix, bits))?.rules ?? [])
    const set = setOf([...own, ...inherited])
    if (prefix.bits < prefix.bytes.length * 8) return { direction, prefix, set }
    return { direction, prefix, set, exact: setOf([...own, ...inherited.filter(({ action }) => action === 'deny')]) }
  })
}

export interface PortPrefix {
  readonly port: number
  /** Leading bits of the port that count. */
  readonly bits: number
}

/** The fewest prefixes that are exactly the range. */
export const portPrefixes = (from: number, to: number): PortPrefix[] => {
  const prefixes: PortPrefix[] = []
  let port = from
  while (port <= to) {
    let size = 1
    while (port % (size * 2) === 0 && port + size * 2 - 1 <= to && size < allPorts) size *= 2
    prefixes.push({ port, bits: 16 - Math.log2(size) })
    port += size
  }
  return prefixes
}
