import { expect, it } from 'vitest'
import { ruleSet, tableName } from './firewall.ts'

const spec = (from: string[]) => ({ installation: 'blue-1', stateDir: '/s', ports: [{ port: 9003, from }] })

it('a port is open to those who are named, of either family, and to nobody else', () => {
  const rules = ruleSet(spec(['10.0.0.1', 'fd00::1', '10.0.0.2']))
  const lines = rules.split('\n').map((line) => line.trim())
  expect(lines.slice(lines.indexOf('iif lo accept'), -3)).toEqual([
    'iif lo accept',
    'tcp dport 9003 ip saddr { 10.0.0.1, 10.0.0.2 } accept',
    'tcp dport 9003 ip6 saddr { fd00::1 } accept',
    'tcp dport 9003 counter drop',
  ])
})

it('a port is open to prefixes, also to such as hold an address that is named', () => {
  const rules = ruleSet(spec(['10.0.0.1', '10.0.0.0/8', 'fd00::/8']))
  expect(rules).toContain(`    tcp dport 9003 ip saddr { 10.0.0.1 } accept
    tcp dport 9003 ip saddr 10.0.0.0/8 accept
    tcp dport 9003 ip6 saddr fd00::/8 accept
    tcp dport 9003 counter drop
`)
})

it('that nobody needs is closed', () => {
  expect(ruleSet(spec([]))).not.toContain('saddr')
  expect(ruleSet(spec([]))).toContain('tcp dport 9003 counter drop')
})

it('the table is replaced in one transaction, and is the installation’s own', () => {
  expect(ruleSet(spec([])).startsWith('table inet forkyard_blue_1\ndelete table inet forkyard_blue_1\n')).toBe(true)
  expect(tableName('blue')).not.toBe(tableName('blue-1'))
})
