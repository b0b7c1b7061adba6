/** The bindings of functions in the registry, sealed: they hold keys and passwords (`signed-entries.ts`, `chassis/sealed-bindings.ts`). */
import { Value } from 'typebox/value'
import { openBindings, ownerOf, type KnownBindings } from '../chassis/sealed-bindings.ts'
import { SealError, type Sealer } from '../chassis/sealing.ts'
import {
  bindingsPlace,
  isProxied,
  maxBindings,
  StoredBindings,
  UnsignedBindings,
  type Bindings,
  type BoundRecord,
} from '../contracts/bindings.ts'
import { bindingsKey } from '../contracts/subjects.ts'
import { createSignedEntries, type Before, type SignedEntryDeps } from './signed-entries.ts'

export interface BindingStore {
  /** @throws SignatureError for those that no gateway of this installation wrote; SealError */
  get(tenant: string, name: string): Promise<KnownBindings | undefined>
  put(tenant: string, name: string, bindings: Bindings): Promise<KnownBindings>
  /** Idempotent. */
  delete(tenant: string, name: string): Promise<void>
  /** After a rotation of keys, and with `adoptUnsigned` once: for all that there are, sealed anew as well. @returns how many */
  signAnew(): Promise<number>
}

type Entry = Omit<StoredBindings, 'signature'>

export const createBindingStore = (deps: SignedEntryDeps & { readonly sealer: Sealer }): BindingStore => {
  const { sealer } = deps
  const seal = (record: BoundRecord, key: string): string =>
    sealer.seal(JSON.stringify(record), bindingsPlace(...ownerOf(key)))
  const entries = createSignedEntries<Entry>(deps, {
    what: 'the bindings',
    filter: bindingsKey('*', '*'),
    parse: (value) => Value.Parse(StoredBindings, value),
    adopt: (value) => (Value.Check(UnsignedBindings, value) ? value : undefined),
    isGone: ({ sealed }) => sealed === null,
    gone: (lastModified) => ({ sealed: null, lastModified }),
    renewed: (entry, key) => {
      if (entry.sealed === null || !sealer.isOld(entry.sealed)) return undefined
      const record = known(sealer, entry, key)
      return record && { ...entry, sealed: seal(record, key) }
    },
  })
  return {
    get: async (tenant, name) => {
      const key = bindingsKey(tenant, name)
      const entry = await entries.get(key)
      const record = entry && openBindings(sealer, entry, key)
      return record && { record, lastModified: entry.lastModified }
    },
    put: async (tenant, name, bindings) => {
      const key = bindingsKey(tenant, name)
      const addressed = Object.keys(bindings).filter((of) => bindings[of] !== undefined && isProxied(bindings[of]))
      const lastModified = new Date().toISOString()
      let record: BoundRecord = { bindings, addresses: {} }
      await entries.change(key, (before) => {
        record = { bindings, addresses: numbered(addressed, known(sealer, before, key)?.addresses ?? {}) }
        return { sealed: seal(record, key), lastModified }
      })
      return { record, lastModified }
    },
    delete: (tenant, name) => entries.remove(bindingsKey(tenant, name)),
    signAnew: () => entries.signAnew(),
  }
}

/** What cannot be opened is no reason not to write anew, and stays as it is otherwise. */
const known = (sealer: Sealer, before: Before<Entry>, key: string): BoundRecord | undefined => {
  if (before === undefined || before === 'foreign') return undefined
  try {
    return openBindings(sealer, before, key)
  } catch (error) {
    if (error instanceof SealError) return undefined
    throw error
  }
}

/** Pure: a name keeps its number, so that a connection or a cached answer never leads to another binding. */
export const numbered = (
  names: readonly string[],
  before: Readonly<Record<string, number>>,
): Record<string, number> => {
  const kept = Object.fromEntries(Object.entries(before).filter(([name]) => names.includes(name)))
  const taken = new Set(Object.values(before))
  // Numbers of names that are gone come last.
  const all = Array.from({ length: maxBindings }, (_, number) => number)
  const gone = Object.entries(before).flatMap(([name, number]) => (names.includes(name) ? [] : [number]))
  const free = [...all.filter((number) => !taken.has(number)), ...gone]
  const fresh = names.filter((name) => !Object.hasOwn(kept, name)).map((name, at) => [name, free[at] ?? 0] as const)
  return { ...kept, ...Object.fromEntries(fresh) }
}
