import { expect, it } from 'vitest'
import { parseStackConfig } from '../config.ts'
import { openPorts } from './host-firewall.ts'

const hostKey = 'ssh-ed25519 AAAA'
const hosts = [
  { name: 'g', address: '10.0.0.1', hostKey, roles: ['gateway'] },
  { name: 's', address: '10.0.0.2', hostKey, roles: ['scheduler', 'nats'] },
  { name: 'n', address: '192.0.2.3', internalAddress: '10.0.0.3', hostKey, roles: ['node'] },
  { name: 'm', address: '10.0.0.4', hostKey, roles: ['node'] },
]
const portsOf = (name: string, joinFrom: string[] = []) => {
  const config = parseStackConfig(
    {
      'forkyard:target': 'metal',
      'forkyard:hosts': JSON.stringify(hosts),
      'forkyard:joinFrom': JSON.stringify(joinFrom),
    },
    { stack: 's', cacheDir: '/c', memoryMiB: 1 },
  )
  return openPorts(config.hosts.find((host) => host.name === name) ?? (undefined as never), config)
}

it('everybody is let in where there is business to do, by the internal address', () => {
  expect(portsOf('s')).toEqual([
    { port: 9001, from: ['10.0.0.1'] },
    { port: 9003, from: ['10.0.0.1', '10.0.0.3', '10.0.0.4'] },
    { port: 9004, from: [] },
  ])
  // Nodes reach each other's code, and not what starts instances.
  expect(portsOf('n')).toEqual([
    { port: 9002, from: ['10.0.0.1', '10.0.0.2'] },
    { port: 9006, from: ['10.0.0.4'] },
  ])
})

it('the gateway is nobody’s secret, but for where nodes bring calls', () => {
  expect(portsOf('g')).toEqual([{ port: 9005, from: ['10.0.0.3', '10.0.0.4'] }])
})

it('machines that join reach calls and NATS, and neither schedulers nor nodes', () => {
  const joinFrom = ['10.8.0.0/16']
  expect(portsOf('g', joinFrom)).toEqual([{ port: 9005, from: ['10.0.0.3', '10.0.0.4', '10.8.0.0/16'] }])
  expect(portsOf('s', joinFrom)).toEqual([
    { port: 9001, from: ['10.0.0.1'] },
    { port: 9003, from: ['10.0.0.1', '10.0.0.3', '10.0.0.4', '10.8.0.0/16'] },
    { port: 9004, from: [] },
  ])
  expect(portsOf('n', joinFrom)).toEqual(portsOf('n'))
})
