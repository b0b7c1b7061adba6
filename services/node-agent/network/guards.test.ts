import { expect, it } from 'vitest'
import { addressPlan, formatAddress } from './addresses.ts'
import { guardsOf } from './guards.ts'
import { platformOf } from './keep-host.ts'

const plan = addressPlan('forkyard-a')
const input = {
  plan,
  platformPorts: [4222],
  platformAddresses: ['192.0.2.9', 'nats.example'],
  never: ['198.51.100.0/24'],
}
const guards = guardsOf(input, ['127.0.0.1', '192.0.2.1', 'fe80::1', '2001:db8::1', formatAddress(plan.gateway4)])
const kindOf = (text: string) => guards.find(({ bytes, bits }) => `${formatAddress(bytes)}/${bits}` === text)?.kind

it('addresses of the host and the platform need a rule of their own', () => {
  expect([kindOf('192.0.2.1/32'), kindOf('192.0.2.9/32')]).toEqual(['exact', 'exact'])
  expect(kindOf('2001:0db8:0000:0000:0000:0000:0000:0001/128')).toBe('exact')
  expect(guards.filter(({ kind }) => kind === 'exact').every(({ ports }) => ports?.includes(4222))).toBe(true)
})

it('what is never open stays so where the host has it', () => {
  expect([kindOf('127.0.0.0/8'), kindOf('127.0.0.1/32')]).toEqual(['never', undefined])
  expect(guards.some(({ bytes, kind }) => formatAddress(bytes).startsWith('fe80') && kind === 'exact')).toBe(false)
  expect(kindOf(`${formatAddress(plan.gateway4)}/32`)).toBe(undefined)
  expect(kindOf('169.254.0.0/16')).toBe('never')
})

it('other sandboxes, and what the node’s configuration shuts, are never open', () => {
  expect(kindOf(`${formatAddress(plan.subnet4.bytes)}/20`)).toBe('never')
  expect(kindOf('198.51.100.0/24')).toBe('never')
})

it('the platform’s ports are the agent’s own, those of NATS, and what the configuration names', () => {
  const nats = {
    servers: ['nats://192.0.2.9:4333', '[2001:db8::9]', 'tls://nats.example:4333'],
    user: '',
    password: '',
    replicas: 1,
  }
  expect(platformOf({ listen: { host: '', port: 7070 }, nats, network: { platformPorts: [9001] } })).toEqual({
    ports: [7070, 9001, 4333, 4222],
    addresses: ['192.0.2.9', '2001:db8::9', 'nats.example'],
  })
})
