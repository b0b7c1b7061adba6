/** The bindings of functions in the registry, sealed: they hold keys and passwords. Nodes follow the bucket; gateways read it when they are asked. */
import type { KV } from '@nats-io/kv'
import { openBindings, type KnownBindings } from '../chassis/sealed-bindings.ts'
import type { Sealer } from '../chassis/sealing.ts'
import { bindingsPlace, isProxied, maxBindings, type Bindings } from '../contracts/bindings.ts'
import { bindingsKey } from '../contracts/subjects.ts'

export interface BindingStore {
  get(tenant: string, name: string): Promise<KnownBindings | undefined>
  put(tenant: string, name: string, bindings: Bindings): Promise<KnownBindings>
  /** Idempotent. */
  delete(tenant: string, name: string): Promise<void>
}

export const createBindingStore = (kv: KV, sealer: Sealer): BindingStore => {
  const get: BindingStore['get'] = async (tenant, name) => {
    const entry = await kv.get(bindingsKey(tenant, name))
    if (entry?.operation !== 'PUT') return undefined
    return openBindings(sealer, entry.json(), tenant, name)
  }
  return {
    get,
    put: async (tenant, name, bindings) => {
      const before = await get(tenant, name)
      const addressed = Object.keys(bindings).filter((of) => bindings[of] !== undefined && isProxied(bindings[of]))
      const record = { bindings, addresses: numbered(addressed, before?.record.addresses ?? {}) }
      const lastModified = new Date().toISOString()
      const sealed = sealer.seal(JSON.stringify(record), bindingsPlace(tenant, name))
      await kv.put(bindingsKey(tenant, name), JSON.stringify({ sealed, lastModified }))
      return { record, lastModified }
    },
    delete: async (tenant, name) => {
      const entry = await kv.get(bindingsKey(tenant, name))
      if (entry?.operation === 'PUT') await kv.delete(bindingsKey(tenant, name))
    },
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
