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
})
