import { describe, expect, it } from 'vitest'
import { ResourcePool } from '../services/contracts/resource-pool.ts'
import { parseStackConfig, StackConfigError } from './config.ts'

const around = { stack: 'blue', cacheDir: '/cache', memoryMiB: 8192 }
const hostKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA'
const host = { name: 'a', address: '10.0.0.1', hostKey, roles: ['gateway', 'scheduler', 'node', 'nats'] }

const parse = (pools: unknown, more: Readonly<Record<string, string>> = {}) =>
  parseStackConfig({ 'forkyard:pools': JSON.stringify(pools), ...more }, around)
const problemOf = (...args: Parameters<typeof parse>): string => {
  try {
    parse(...args)
  } catch (error) {
    expect(error).toBeInstanceOf(StackConfigError)
    return (error as Error).message
  }
  throw new Error('was accepted')
}

describe('pools', () => {
  it('are none by default', () => {
    expect(parseStackConfig({}, around).pools).toEqual([])
  })

  it('are taken with all their keys', () => {
    const pools: ResourcePool[] = [
      {
        name: 'acme',
        tenants: ['acme', 'acme-test'],
        runtimes: ['python3.11'],
        minMemoryMiB: 256,
        maxMemoryMiB: 1024,
        onlyChosen: true,
        weights: { acme: 3 },
        tenantLimit: { instances: 10 },
        functionLimit: { memoryMiB: 2048 },
        reserved: { acme: { instances: 2, memoryMiB: 512 } },
      },
    ]
    expect(parse(pools).pools).toEqual(pools)
    expect(Object.keys(pools[0] ?? {}).toSorted()).toEqual(Object.keys(ResourcePool.properties).toSorted())
  })

  it('say what each key means', () => {
    for (const schema of Object.values(ResourcePool.properties)) expect(schema).toHaveProperty('description')
  })

  it.each([
    [{}, 'forkyard:pools: is not an array'],
    [['a'], 'forkyard:pools[0]: is not an object'],
    [[{ name: 'A b' }], 'forkyard:pools[0].name: "A b" is not valid; expected string matching'],
    [[{ name: 'a', tenant: 'b' }], 'forkyard:pools[0].tenant: unknown key. Valid keys: name, tenants'],
    [[{ name: 'a', tenants: [] }], 'forkyard:pools[0].tenants: [] is not valid'],
    [[{ name: 'a', weights: { t: 0 } }], 'forkyard:pools[0].weights: {"t":0} is not valid'],
    [[{ name: 'a', weights: { 'a b': 1 } }], "forkyard:pools[0].weights: 'a b' is no tenant's name"],
    [
      [{ name: 'a', reserved: { t: { instances: 1 } } }],
      'forkyard:pools[0].reserved: {"t":{"instances":1}} is not valid',
    ],
    [[{ name: 'a' }, { name: 'a' }], 'forkyard:pools[1].name: a is that of forkyard:pools[0] already'],
    [
      [{ name: 'a', minMemoryMiB: 512, maxMemoryMiB: 256 }],
      'forkyard:pools[0].minMemoryMiB: 512 is above maxMemoryMiB 256',
    ],
    [
      [{ name: 'a', tenants: ['b'], reserved: { c: { instances: 1, memoryMiB: 128 } } }],
      'forkyard:pools[0].reserved: the pool does not belong to c',
    ],
  ])('%j is refused', (pools, message) => {
    expect(problemOf(pools)).toContain(message)
  })

  it('that a host names are in the list', () => {
    const more = { 'forkyard:target': 'metal', 'forkyard:hosts': JSON.stringify([{ ...host, pool: 'gpu' }]) }
    expect(problemOf([{ name: 'acme' }], more)).toContain(
      'forkyard:hosts[0].pool: gpu is no pool of forkyard:pools; valid are default, acme',
    )
    expect(parse([{ name: 'gpu' }], more).pools).toEqual([{ name: 'gpu' }])
  })
})
