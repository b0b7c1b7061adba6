import ipaddr from 'ipaddr.js'
import { describe, expect, it } from 'vitest'
import { checkNetworkPolicy } from './network.ts'
import { openedNames, openedRules, publicPrefixes } from './opened-networks.ts'

const opens = (address: string): boolean => {
  const parsed = ipaddr.parse(address)
  return publicPrefixes.some((prefix) => {
    const [range, bits] = ipaddr.parseCIDR(prefix)
    return range.kind() === parsed.kind() && parsed.match(range, bits)
  })
}

const sum = (all: number[]): number => all.reduce((total, each) => total + each, 0)

describe('the internet', () => {
  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.0.1',
    '172.32.0.1',
    '223.255.255.255',
    '2606::1',
  ])('has %s in it', (address) => expect(opens(address)).toBe(true))
  it.each(
    '10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 127.0.0.1 169.254.169.254 198.18.0.1 0.0.0.0 224.0.0.1 255.255.255.255 fd00::1 fe80::1 ::1 ::ffff:8.8.8.8 ff02::1'.split(
      ' ',
    ),
  )('has not %s', (address) => expect(opens(address)).toBe(false))

  it('is all of IPv4 but for the ranges of the register, and no address twice', () => {
    const sizes = publicPrefixes
      .filter((prefix) => !prefix.includes(':'))
      .map((prefix) => 2 ** (32 - Number(prefix.split('/')[1])))
    const special = [8, 8, 10, 8, 16, 12, 24, 24, 16, 15, 24, 24, 4, 4].map((bits) => 2 ** (32 - bits))
    expect(sum(sizes)).toBe(2 ** 32 - sum(special))
  })

  it('is rules that a policy may have, without a denial', () => {
    const rules = openedRules({ type: 'internet', ports: [443] })
    expect(
      rules.every(({ action, ports, protocol }) => action === 'allow' && ports?.[0] === 443 && protocol === 'tcp'),
    ).toBe(true)
    expect(() => checkNetworkPolicy({ rules })).not.toThrow()
    expect(openedNames({ type: 'internet' })).toEqual(['*'])
  })
})

it('a subnet is its prefixes, and the names that it says', () => {
  expect(openedRules({ type: 'subnet', cidrs: ['10.1.0.0/16'], protocol: 'any' })).toEqual([
    { action: 'allow', protocol: 'any', cidr: '10.1.0.0/16' },
  ])
  expect(openedNames({ type: 'subnet', cidrs: ['10.1.0.0/16'], dns: ['db.example.com'] })).toEqual(['db.example.com'])
})
