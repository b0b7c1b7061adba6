import type { KV } from '@nats-io/kv'
import { describe, expect, it } from 'vitest'
import { createSigner } from '../chassis/signing.ts'
import type { StoredNetworkPolicy } from '../contracts/network.ts'
import { createNetworkPolicies } from './network-policies.ts'
import { memoryKv } from './testing/memory-kv.ts'

const first = { id: 's1', seed: '1'.repeat(64) }
const second = { id: 's2', seed: '2'.repeat(64) }
const open = (kv: KV, { signing = [first], adoptUnsigned = false } = {}) =>
  createNetworkPolicies({ kv, signer: createSigner(signing), adoptUnsigned })

const record = { policy: { rules: [] }, lastModified: '2026-01-01T00:00:00.000Z' }
const stored = async (kv: KV): Promise<StoredNetworkPolicy> =>
  (await kv.get('t.f'))?.json<StoredNetworkPolicy>() as never

describe('a network policy in the store', () => {
  it('has a higher number with each change, and keeps it when it is taken away', async () => {
    const kv = memoryKv()
    const policies = open(kv)
    const serials: number[] = []
    const next = async (work: Promise<void>) => {
      await work
      serials.push((await stored(kv)).serial)
    }
    await next(policies.put('t', 'f', record))
    await next(policies.put('t', 'f', record))
    await next(policies.delete('t', 'f'))
    expect(await policies.get('t', 'f')).toBeUndefined()
    // Idempotent: nothing changes.
    await next(policies.delete('t', 'f'))
    expect(serials[3]).toBe(serials[2])
    await next(policies.put('t', 'f', record))
    expect(serials.toSpliced(3, 1)).toEqual([...new Set(serials)].toSorted((a, b) => a - b))
    expect(await policies.get('t', 'f')).toEqual(record)
  })

  it.each<[string, (signed: StoredNetworkPolicy) => object]>([
    ['without a signature', ({ signature: _signature, ...rest }) => rest],
    [
      'that was changed',
      (signed) => ({ ...signed, policy: { rules: [{ action: 'allow', protocol: 'any', cidr: '::/0' }] } }),
    ],
    ['with another number', (signed) => ({ ...signed, serial: signed.serial + 1 })],
  ])('%s is refused, and replaced by the next one', async (_case, change) => {
    const kv = memoryKv()
    const policies = open(kv)
    await policies.put('t', 'f', record)
    await kv.put('t.f', JSON.stringify(change(await stored(kv))))
    await expect(policies.get('t', 'f')).rejects.toThrow(/not (signed by|what) this installation/)
    await policies.put('t', 'f', record)
    expect(await policies.get('t', 'f')).toEqual(record)
  })

  it('of another function is refused', async () => {
    const kv = memoryKv()
    const policies = open(kv)
    await policies.put('t', 'g', record)
    await kv.put('t.f', (await kv.get('t.g'))?.string() ?? '')
    await expect(policies.get('t', 'f')).rejects.toThrow(/not what this installation signed/)
  })

  it('is signed anew after a rotation, and from a version that did not sign only if that is asked for', async () => {
    const kv = memoryKv()
    await open(kv).put('t', 'f', record)
    const rotated = open(kv, { signing: [second, first] })
    expect([await rotated.signAnew(), await rotated.signAnew()]).toEqual([1, 0])
    expect((await stored(kv)).signature).toMatch(/^ed1\.s2\./)

    await kv.put('t.f', JSON.stringify(record))
    expect(await open(kv).signAnew()).toBe(0)
    const adopting = open(kv, { adoptUnsigned: true })
    expect(await adopting.get('t', 'f')).toEqual(record)
    expect(await adopting.signAnew()).toBe(1)
    expect(await open(kv).get('t', 'f')).toEqual(record)
  })
})
