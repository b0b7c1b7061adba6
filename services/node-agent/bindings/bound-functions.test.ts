import { describe, expect, it } from 'vitest'
import type { Binding, BoundRecord } from '../../contracts/bindings.ts'
import type { NetworkPolicy } from '../../contracts/network.ts'
import { BoundFunctions } from './bound-functions.ts'
import { EffectivePolicies } from './effective-policies.ts'

const api: Binding = { type: 'http', url: 'http://a' }
const db: Binding = { type: 'postgresql', host: 'h', database: 'd', user: 'u', password: 'p' }
const addresses = ['100.64.0.1', '100.64.0.2', '100.64.0.3']
const record: BoundRecord = { bindings: { api, db }, addresses: { api: 2, db: 0 } }

const setUp = () => {
  const bound = new BoundFunctions(addresses)
  const applied = new Map<string, NetworkPolicy | undefined>()
  const policies = new EffectivePolicies(bound, (key, policy) => void applied.set(key, policy))
  return { bound, policies, applied }
}

describe('a bound function', () => {
  it('finds its bindings by name, also below it, and nobody else does', () => {
    const { bound } = setUp()
    bound.set('t.f', record)
    const asked = [
      'api.internal',
      'API.Internal.',
      'bucket.db.internal',
      'other.internal',
      'constructor.internal',
      'api',
    ]
    expect(asked.map((name) => bound.resolve('t.f', name))).toEqual([
      '100.64.0.3',
      '100.64.0.3',
      '100.64.0.1',
      undefined,
      undefined,
      undefined,
    ])
    expect(bound.resolve('t.other', 'api.internal')).toBeUndefined()
    expect([bound.at('t.f', '100.64.0.1')?.name, bound.at('t.f', '100.64.0.2'), bound.at('t.f', '192.0.2.1')]).toEqual([
      'db',
      undefined,
      undefined,
    ])
  })

  it('has variables for the one database that it has, and none for two', () => {
    const { bound } = setUp()
    bound.set('t.f', record)
    expect(bound.environment('t.f')).toMatchObject({ PGHOST: 'db.internal', PGDATABASE: 'db' })
    bound.set('t.f', { bindings: { db, second: db }, addresses: { db: 0, second: 1 } })
    expect(bound.environment('t.f')).toEqual({})
  })

  it('finds Lambda’s API through any function that it is bound to', () => {
    const { bound } = setUp()
    const [a, b] = [{ type: 'function', function: 'a' } as const, { type: 'function', function: 'b' } as const]
    bound.set('t.f', { bindings: { b, a }, addresses: { b: 0, a: 1 } })
    expect(bound.environment('t.f')).toEqual({
      AWS_ENDPOINT_URL_LAMBDA: 'http://lambda.a.internal',
      AWS_ACCESS_KEY_ID: 'function',
      AWS_SECRET_ACCESS_KEY: 'function',
    })
    expect(bound.resolve('t.f', 'lambda.a.internal')).toBe(addresses[1])
  })

  it('has the network of its policy and of its bindings, each alone and both', () => {
    const { policies, applied } = setUp()
    const opened = [
      { action: 'allow', protocol: 'tcp', cidr: '100.64.0.3', ports: [80] },
      { action: 'allow', protocol: 'tcp', cidr: '100.64.0.1', ports: [5432] },
    ]
    const own = { action: 'allow', protocol: 'udp', cidr: '192.0.2.0/24' } as const
    policies.bindings('t.f', record)
    expect(applied.get('t.f')).toEqual({ rules: opened })
    policies.policy('t.f', { rules: [own], dns: ['*'] })
    expect(applied.get('t.f')).toEqual({ rules: [own, ...opened], dns: ['*'] })
    policies.bindings('t.f', undefined)
    expect(applied.get('t.f')).toEqual({ rules: [own], dns: ['*'] })
    policies.policy('t.f', undefined)
    expect(applied.get('t.f')).toBeUndefined()
  })

  it('has the names and addresses of a subnet and of the internet, and no name of its own for them', () => {
    const { bound, policies, applied } = setUp()
    const subnet = { type: 'subnet', cidrs: ['10.1.0.0/16'], ports: [5432], dns: ['db.example.com'] } as const
    policies.bindings('t.f', {
      bindings: { lan: { ...subnet, cidrs: [...subnet.cidrs], ports: [5432], dns: [...subnet.dns] } },
      addresses: {},
    })
    expect(applied.get('t.f')).toEqual({
      rules: [{ action: 'allow', protocol: 'tcp', cidr: '10.1.0.0/16', ports: [5432] }],
      dns: ['db.example.com'],
    })
    expect(bound.resolve('t.f', 'lan.internal')).toBeUndefined()
    policies.bindings('t.f', { bindings: { world: { type: 'internet' } }, addresses: {} })
    expect(applied.get('t.f')?.dns).toEqual(['*'])
    expect(applied.get('t.f')?.rules).toContainEqual({ action: 'allow', protocol: 'tcp', cidr: '11.0.0.0/8' })
  })
})
