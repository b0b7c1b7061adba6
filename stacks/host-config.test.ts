import { describe, expect, it } from 'vitest'
import { parseStackConfig, StackConfigError } from './config.ts'
import { HostConfig } from './host-config.ts'

const around = { stack: 'blue', cacheDir: '/cache', memoryMiB: 8192 }
const hostKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA'
const all = { name: 'a', address: '10.0.0.1', hostKey, roles: ['gateway', 'scheduler', 'node', 'nats'] }
const node = { name: 'b', address: '10.0.0.2', hostKey, roles: ['node'] }

const parse = (hosts: unknown, more: Readonly<Record<string, string>> = {}) =>
  parseStackConfig({ 'forkyard:target': 'metal', 'forkyard:hosts': JSON.stringify(hosts), ...more }, around)
const problemOf = (hosts: unknown, more?: Readonly<Record<string, string>>): string => {
  try {
    parse(hosts, more)
  } catch (error) {
    expect(error).toBeInstanceOf(StackConfigError)
    return (error as Error).message
  }
  throw new Error('was accepted')
}

describe('hosts', () => {
  it('get their defaults, and change those of the installation', () => {
    expect(parse([all, node])).toMatchObject({
      hosts: [{ port: 22, user: 'root' }, { port: 22 }],
      listenHost: '0.0.0.0',
      publicUrl: 'http://10.0.0.1:9000',
      readyTimeoutMs: 180_000,
    })
    expect(parse([all]).nodeMemoryMiB).toBeUndefined()
  })

  it('with IPv6 addresses make URLs that can be parsed', () => {
    const { publicUrl } = parse([{ ...all, address: 'fd00::1' }])
    expect(new URL(publicUrl).hostname).toBe('[fd00::1]')
  })

  it('say what each key means', () => {
    for (const schema of Object.values(HostConfig.properties)) expect(schema).toHaveProperty('description')
  })
})

describe('a value at fault is named by its own key', () => {
  it.each([
    [[{ ...all, port: 0 }], 'forkyard:hosts[0].port: 0 is not valid; expected integer from 1 to 65535'],
    [[all, { ...node, hostKey: 'none' }], 'forkyard:hosts[1].hostKey: "none" is not valid'],
    [[all, { ...node, hostKey: undefined }], 'forkyard:hosts[1].hostKey: '],
    [[{ ...all, pool: 'A b' }], 'forkyard:hosts[0].pool: "A b" is not valid; expected string matching'],
    [[{ ...all, labels: { zone: 1 } }], 'forkyard:hosts[0].labels: {"zone":1} is not valid'],
    [[{ ...all, labels: { 'A b': 'x' } }], 'forkyard:hosts[0].labels: {"A b":"x"} is not valid'],
    [[{ ...all, roles: ['cook'] }], 'forkyard:hosts[0].roles: ["cook"] is not valid'],
    [[{ ...all, nmae: 'a' }], 'forkyard:hosts[0].nmae: unknown key. Valid keys: name, address'],
    [['a'], 'forkyard:hosts[0]: is not an object'],
    [{ a: 1 }, 'forkyard:hosts: {"a":1} is not valid; expected array'],
    [[all, { ...node, name: 'a' }], 'forkyard:hosts: the name a is there more than once'],
    [[all, { ...node, address: '10.0.0.1' }], 'forkyard:hosts: the internal address 10.0.0.1 is there more than once'],
    [[all, { ...node, address: 'b.example' }], 'forkyard:hosts[1].internalAddress: b.example is no IP address'],
    [[node], 'forkyard:hosts: no host has the role gateway'],
    [[node], 'forkyard:hosts: no host has the role scheduler'],
    [[all, { ...node, roles: ['nats'] }], 'forkyard:hosts: 2 hosts have the role nats; expected 1 or 3'],
    [[], 'forkyard:hosts: no host has the role node'],
  ])('%j', (hosts, problem) => {
    expect(problemOf(hosts)).toContain(problem)
  })

  it('but a private key is never repeated', () => {
    expect(problemOf([{ ...all, privateKey: 'hunter2' }])).toContain('forkyard:hosts[0].privateKey: "the value" is not')
    const message = problemOf([all], { 'forkyard:sshPrivateKey': 'hunter2' })
    expect(message).toContain('forkyard:sshPrivateKey: "the value" is not valid')
    expect(message).not.toContain('hunter2')
  })

  it('and hosts without their target are no hosts', () => {
    const raw = { 'forkyard:hosts': JSON.stringify([all]) }
    expect(() => parseStackConfig(raw, around)).toThrow('forkyard:hosts: is for forkyard:target metal alone')
  })
})
