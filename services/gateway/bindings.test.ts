import type { KV } from '@nats-io/kv'
import * as fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { createSealer } from '../chassis/sealing.ts'
import { createSigner, type SigningKeys } from '../chassis/signing.ts'
import { bindingsPlace, maxBindings, type Bindings, type StoredBindings } from '../contracts/bindings.ts'
import { networkPlace } from '../contracts/network.ts'
import { bindingsKey } from '../contracts/subjects.ts'
import { createBindingStore, numbered } from './bindings.ts'
import { memoryKv } from './testing/memory-kv.ts'

const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: maxBindings })

type Seed = SigningKeys[number]

describe('numbers of bindings', () => {
  it('are one for each name, and stay with it', () => {
    fc.assert(
      fc.property(fc.array(names, { minLength: 1, maxLength: 6 }), (changes) => {
        let before: Record<string, number> = {}
        for (const wanted of changes) {
          const after = numbered(wanted, before)
          expect(Object.keys(after).toSorted()).toEqual(wanted.toSorted())
          expect(new Set(Object.values(after)).size).toBe(wanted.length)
          for (const number of Object.values(after)) expect(number).toBeLessThan(maxBindings)
          for (const name of wanted) if (Object.hasOwn(before, name)) expect(after[name]).toBe(before[name])
          before = after
        }
      }),
    )
  })

  it('are given to names that every object has, too', () => {
    expect(numbered(['constructor'], {})).toEqual({ constructor: 0 })
  })

  it('of names that are gone are the last to be given again', () => {
    expect(numbered(['b', 'c'], { a: 0, b: 1 })).toEqual({ b: 1, c: 2 })
  })
})

describe('stored bindings', () => {
  const one = { id: 'one', key: 'a'.repeat(64) }
  const two = { id: 'two', key: 'b'.repeat(64) }
  const [first, second] = ['1', '2'].map((digit) => ({ id: `s${digit}`, seed: digit.repeat(64) })) as [Seed, Seed]
  const bindings: Bindings = { api: { type: 'http', url: 'http://a', headers: { authorization: 'the secret' } } }
  const key = bindingsKey('t', 'f')
  let kv: KV
  beforeEach(() => void (kv = memoryKv()))
  const open = ({ sealing = [one], signing = [first], adoptUnsigned = false } = {}) =>
    createBindingStore({ kv, sealer: createSealer(sealing), signer: createSigner(signing), adoptUnsigned })
  const stored = async (): Promise<StoredBindings> => (await kv.get(key))?.json<StoredBindings>() as never

  it('are sealed, for their function alone', async () => {
    const store = open()
    await store.put('t', 'f', bindings)
    expect((await store.get('t', 'f'))?.record).toEqual({ bindings, addresses: { api: 0 } })
    const text = (await kv.get(key))?.string() ?? ''
    expect(text).not.toContain('the secret')
    await kv.put(bindingsKey('t', 'other'), text)
    await expect(store.get('t', 'other')).rejects.toThrow('not what this installation signed')
    // Signed for that place by somebody who has the key, they cannot be opened there.
    const { signature: _signature, ...entry } = await stored()
    const forged = createSigner([first]).sign(networkPlace(bindingsKey('t', 'other')), entry)
    await kv.put(bindingsKey('t', 'other'), JSON.stringify(forged))
    await expect(store.get('t', 'other')).rejects.toThrow('belongs elsewhere')
  })

  it('have a higher number with each change, and keep it when they are deleted', async () => {
    const store = open()
    const serials: number[] = []
    const next = async (work: Promise<unknown>): Promise<void> => {
      await work
      serials.push((await stored()).serial)
    }
    await next(store.put('t', 'f', bindings))
    await next(store.put('t', 'f', bindings))
    await next(store.delete('t', 'f'))
    expect(await store.get('t', 'f')).toBeUndefined()
    expect((await stored()).sealed).toBeNull()
    // Idempotent: nothing changes.
    await next(store.delete('t', 'f'))
    expect(serials[3]).toBe(serials[2])
    await next(store.put('t', 'f', bindings))
    expect(serials.toSpliced(3, 1)).toEqual([...new Set(serials)].toSorted((a, b) => a - b))
  })

  it.each<[string, (signed: StoredBindings) => object]>([
    ['without a signature', ({ signature: _signature, ...rest }) => rest],
    ['with another number', (signed) => ({ ...signed, serial: signed.serial + 1 })],
    ['as they were in versions that signed nothing', ({ sealed, lastModified }) => ({ sealed, lastModified })],
    [
      'that somebody who has the key that seals made',
      (signed) => ({ ...signed, sealed: createSealer([one]).seal('{}', bindingsPlace('t', 'f')) }),
    ],
  ])('%s are refused, and replaced by the next ones', async (_case, change) => {
    const store = open()
    await store.put('t', 'f', bindings)
    await kv.put(key, JSON.stringify(change(await stored())))
    await expect(store.get('t', 'f')).rejects.toThrow()
    await store.put('t', 'f', bindings)
    expect((await store.get('t', 'f'))?.record.bindings).toEqual(bindings)
  })

  it('are sealed and signed anew after a rotation', async () => {
    await open().put('t', 'f', bindings)
    const rotated = open({ sealing: [two, one], signing: [second, first] })
    expect([await rotated.signAnew(), await rotated.signAnew()]).toEqual([1, 0])
    const { sealed, signature } = await stored()
    expect([sealed?.split('.')[1], signature?.split('.')[1]]).toEqual(['two', 's2'])
    // The keys of before are not needed any more.
    const later = open({ sealing: [two], signing: [second] })
    expect((await later.get('t', 'f'))?.record).toEqual({ bindings, addresses: { api: 0 } })
  })

  it('of a version that did not sign are taken only if that is asked for', async () => {
    const sealed = createSealer([one]).seal(
      JSON.stringify({ bindings, addresses: { api: 3 } }),
      bindingsPlace('t', 'f'),
    )
    await kv.put(key, JSON.stringify({ sealed, lastModified: '2026-01-01T00:00:00.000Z' }))
    expect(await open().signAnew()).toBe(0)
    await expect(open().get('t', 'f')).rejects.toThrow()
    expect(await open({ adoptUnsigned: true }).signAnew()).toBe(1)
    expect((await open().get('t', 'f'))?.record).toEqual({ bindings, addresses: { api: 3 } })
  })
})
