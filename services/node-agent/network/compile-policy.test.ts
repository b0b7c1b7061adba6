import { array, assert, constantFrom, integer, property, record, tuple } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseCidr, portRange, type NetworkRule } from '../../contracts/network.ts'
import { overlaps } from './addresses.ts'
import { compilePolicy, portPrefixes, type CompiledPolicy, type Verdict } from './compile-policy.ts'

/** What the filter does: the longest match, then its set. */
const look = (
  { prefixes, sets }: CompiledPolicy,
  direction: string,
  address: string,
  protocol: string,
  port: number,
  exact = false,
): Verdict | undefined => {
  const own = parseCidr(address)
  const matches = prefixes.filter(
    ({ direction: way, prefix }) => way === direction && own && overlaps(prefix, own) && prefix.bits <= own.bits,
  )
  const longest = matches.toSorted((a, b) => b.prefix.bits - a.prefix.bits)[0]
  const set = exact ? longest?.exact : longest?.set
  const ranges = set === undefined ? [] : (sets[set] ?? [])
  return ranges.find((range) => range.protocol === protocol && range.from <= port && port <= range.to)?.verdict
}

/** What rules mean: any that denies, else any that allows. */
const mean = (
  rules: readonly NetworkRule[],
  direction: string,
  address: string,
  protocol: string,
  port: number,
): Verdict | undefined => {
  const own = parseCidr(address)
  const matching = rules.filter((rule) => {
    const prefix = parseCidr(rule.cidr ?? '')
    if ((rule.direction ?? 'egress') !== direction || !prefix || !own || !overlaps(prefix, own)) return false
    if (rule.protocol !== 'any' && rule.protocol !== protocol) return false
    if (protocol === 'icmp') return !rule.ports
    return (rule.ports ?? ['0-65535']).some((range) => {
      const [from, to] = portRange(range)
      return from <= port && port <= to
    })
  })
  if (matching.some(({ action }) => action === 'deny')) return 'deny'
  return matching.length > 0 ? 'allow' : undefined
}

const cidrs = [
  '0.0.0.0/0',
  '10.0.0.0/8',
  '10.1.0.0/16',
  '10.1.2.0/24',
  '10.1.2.3',
  '10.1.2.4/30',
  '::/0',
  '2001:db8::/32',
]
const addresses = ['10.1.2.3', '10.1.2.5', '10.1.9.9', '10.9.9.9', '192.0.2.1', '2001:db8::1', '2001:db9::1']
const ports = [0, 79, 80, 81, 443, 8000, 8080, 65_535]

const rule = record(
  {
    action: constantFrom('allow', 'deny'),
    direction: constantFrom('egress', 'ingress'),
    protocol: constantFrom('tcp', 'udp', 'icmp', 'any'),
    cidr: constantFrom(...cidrs),
    ports: array(constantFrom<number | string>(80, '80-443', '8000-8080', '0-65535', 443), {
      minLength: 1,
      maxLength: 3,
    }),
  },
  { requiredKeys: ['action', 'protocol', 'cidr'] },
) as unknown as import('fast-check').Arbitrary<NetworkRule>

describe('a compiled policy', () => {
  it('says of every packet what its rules say, however they overlap', () => {
    const packet = tuple(
      constantFrom('egress', 'ingress'),
      constantFrom(...addresses),
      constantFrom('tcp', 'udp', 'icmp'),
      constantFrom(...ports),
    )
    assert(
      property(array(rule, { maxLength: 12 }), array(packet, { minLength: 20, maxLength: 20 }), (rules, packets) => {
        const compiled = compilePolicy({ rules })
        for (const one of packets) expect(look(compiled, ...one), one.join()).toBe(mean(rules, ...one))
      }),
      { numRuns: 300 },
    )
  })

  it('knows what rules for one address alone say, and what is denied there by wider ones', () => {
    const compiled = compilePolicy({
      rules: [
        { action: 'allow', protocol: 'tcp', cidr: '0.0.0.0/0' },
        { action: 'allow', protocol: 'tcp', cidr: '192.0.2.1', ports: ['80-443'] },
        { action: 'deny', protocol: 'tcp', cidr: '192.0.2.0/24', ports: [443] },
      ],
    })
    const exactly = (port: number) => look(compiled, 'egress', '192.0.2.1', 'tcp', port, true)
    expect([exactly(80), exactly(443), exactly(22)]).toEqual(['allow', 'deny', undefined])
    expect(look(compiled, 'egress', '192.0.2.1', 'tcp', 22)).toBe('allow')
  })

  it('has one entry for each prefix, and one set for all that say the same', () => {
    const rules = Array.from({ length: 10_000 }, (_, index): NetworkRule => {
      const cidr = `10.${index >> 8}.${index & 255}.0/24`
      return { action: 'allow', protocol: 'tcp', cidr, ports: [443] }
    })
    const { prefixes, sets } = compilePolicy({ rules })
    expect([prefixes.length, sets.length]).toEqual([10_000, 1])
  })
})

it('prefixes of ports are exactly the range, and few', () => {
  assert(
    property(integer({ min: 0, max: 65_535 }), integer({ min: 0, max: 65_535 }), (a, b) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)]
      let next = from
      const prefixes = portPrefixes(from, to)
      for (const { port, bits } of prefixes) {
        expect(port).toBe(next)
        expect(port % 2 ** (16 - bits)).toBe(0)
        next = port + 2 ** (16 - bits)
      }
      expect(next).toBe(to + 1)
      expect(prefixes.length).toBeLessThanOrEqual(30)
    }),
  )
  expect(portPrefixes(0, 65_535)).toEqual([{ port: 0, bits: 0 }])
})
