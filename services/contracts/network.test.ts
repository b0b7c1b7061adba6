import { expect, it } from 'vitest'
import { Value } from 'typebox/value'
import { checkNetworkPolicy, matchesName, NetworkPolicy, parseCidr, portRange, type NetworkRule } from './network.ts'

it.each([
  ['10.0.0.0/8', 4, 8],
  ['192.0.2.1', 4, 32],
  ['0.0.0.0/0', 4, 0],
  ['2001:db8::/32', 6, 32],
  ['::/0', 6, 0],
  ['2001:db8::1', 6, 128],
])('%s is an address or a prefix', (text, family, bits) => {
  expect(parseCidr(text)).toMatchObject({ family, bits })
})

it.each([
  '10.0.0.1/8',
  '010.0.0.0/8',
  '10.0.0/8',
  '0x0a000000',
  '10.0.0.0/33',
  '10.0.0.0/',
  '10.0.0.0/8/8',
  '10.0.0.0/-1',
  '::ffff:10.0.0.1',
  'fe80::1%eth0',
  '2001:db8::1/64',
  'example.com',
  '',
])('%s is refused: two readers could take it for different things, or it is nothing', (text) => {
  expect(parseCidr(text)).toBe(undefined)
})

const refused: readonly [string, Partial<NetworkRule>, string][] = [
  ['without a target', {}, 'rules[1]: exactly one of cidr and name'],
  ['with two', { cidr: '10.0.0.0/8', name: 'a.example' }, 'rules[1]: exactly one of cidr and name'],
  ['with host bits', { cidr: '10.0.0.1/8' }, "rules[1].cidr: '10.0.0.1/8'"],
  ['for every name', { name: '*' }, "rules[1].name: '*' would open every address"],
  ['for a name inwards', { name: 'a.example', direction: 'ingress' }, 'rules[1]: a name is for egress'],
  ['for echo with ports', { cidr: '10.0.0.0/8', protocol: 'icmp', ports: [1] }, 'rules[1]: icmp has no ports'],
  ['with ports that run backwards', { cidr: '10.0.0.0/8', ports: ['9-1'] }, 'rules[1].ports: 9-1 is no range'],
  ['with a port too large', { cidr: '10.0.0.0/8', ports: ['1-65536'] }, 'rules[1].ports: 1-65536 is no range'],
]
it.each(refused)('a rule %s is refused by its place', (_, rule, message) => {
  const good: NetworkRule = { action: 'allow', protocol: 'any', cidr: '10.0.0.0/8' }
  const policy = { rules: [good, { action: 'allow' as const, protocol: 'tcp' as const, ...rule }] }
  expect(() => checkNetworkPolicy(policy)).toThrow(message)
  expect(() => checkNetworkPolicy({ rules: [good] })).not.toThrow()
})

it.each(['a..b', '.a', 'a.*', '*a.b', '**', 'a b', 'a/b', '-a.b', ''])('%s is no pattern of names', (name) => {
  expect(Value.Check(NetworkPolicy, { rules: [], dns: [name] })).toBe(false)
})

it('a pattern is one name, or all below it, in any case', () => {
  expect(matchesName('api.example.com', 'API.example.com.')).toBe(true)
  expect(matchesName('*.example.com', 'a.b.Example.com')).toBe(true)
  expect(matchesName('*.example.com', 'example.com')).toBe(false)
  expect(matchesName('*.example.com', 'evilexample.com')).toBe(false)
  expect(matchesName('example.com', 'a.example.com')).toBe(false)
  expect(matchesName('*', 'anything.at.all')).toBe(true)
})

it('one port is a range of one', () => {
  expect([portRange(443), portRange('443'), portRange('8000-8080')]).toEqual([
    [443, 443],
    [443, 443],
    [8000, 8080],
  ])
})
