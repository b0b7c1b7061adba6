import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSealer } from '../chassis/sealing.ts'
import { maxBindings, type Bindings } from '../contracts/bindings.ts'
import { bindingsKey } from '../contracts/subjects.ts'
import { createBindingStore, numbered } from './bindings.ts'
import { memoryKv } from './testing/memory-kv.ts'

const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: maxBindings })

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
  const kv = memoryKv()
  const sealer = createSealer([{ id: 'one', key: 'a'.repeat(64) }])
  const store = createBindingStore(kv, sealer)
  const bindings: Bindings = { api: { type: 'http', url: 'http://a', headers: { authorization: 'the secret' } } }

  it('are sealed, for their function alone', async () => {
    await store.put('t', 'f', bindings)
    expect((await store.get('t', 'f'))?.record).toEqual({ bindings, addresses: { api: 0 } })
    const stored = (await kv.get(bindingsKey('t', 'f')))?.string() ?? ''
    expect(stored).not.toContain('the secret')
    await kv.put(bindingsKey('t', 'other'), stored)
    await expect(store.get('t', 'other')).rejects.toThrow('belongs elsewhere')
  })

  it('are gone when they are deleted', async () => {
    await store.delete('t', 'f')
    await store.delete('t', 'f')
    expect(await store.get('t', 'f')).toBeUndefined()
  })
})
