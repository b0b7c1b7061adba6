/** Policies in the filter's maps. Each change of a policy gets a number of its own: no entry is ever changed while packets are judged by it. */
import { matchesName, type NetworkPolicy } from '../../contracts/network.ts'
import { compilePolicy, portSetOf, type CompiledPolicy } from './compile-policy.ts'
import type { FilterMaps } from './filter-maps.ts'
import { entriesOf, pinEntry, portEntries, ruleEntries, type Entries } from './map-encoding.ts'

export interface LoadedPolicy {
  readonly number: number
  readonly policy: NetworkPolicy
  readonly compiled: CompiledPolicy
  readonly rules: Entries
  readonly ports: Entries
  /** Sets of rules with names, by the rules' indexes; made when a name is resolved. */
  readonly namedSets: Map<string, { readonly number: number; readonly ports: Entries }>
  /** Addresses that are open by name: until when (nanoseconds of the monotonic clock), and by which rules. */
  readonly pins: Map<string, Pin>
}

export interface Pin {
  /** 4 or 16. */
  readonly address: readonly number[]
  /** Resolved name to the end of its answer. */
  readonly names: Map<string, bigint>
}

/** Addresses that are open by name, of one policy. */
export const maxPins = 4096

export class PolicyTable {
  readonly #maps: FilterMaps
  #policies = 0
  #sets = 0

  constructor(maps: FilterMaps) {
    this.#maps = maps
  }

  /** @throws Error when the maps are full; nothing of it is in them then. */
  load(policy: NetworkPolicy): LoadedPolicy {
    const compiled = compilePolicy(policy)
    const number = ++this.#policies
    const firstSet = this.#sets + 1
    this.#sets += compiled.sets.length
    const ports = entriesOf(compiled.sets.flatMap((set, index) => portEntries(set, firstSet + index)))
    const rules = ruleEntries(compiled, number, firstSet)
    const loaded: LoadedPolicy = {
      number,
      policy,
      compiled,
      rules,
      ports,
      namedSets: new Map(),
      pins: new Map(),
    }
    try {
      this.#maps.update('ports', ports)
      this.#maps.update('rules', rules)
    } catch (error) {
      this.unload(loaded)
      throw error
    }
    return loaded
  }

  unload({ number, rules, ports, namedSets, pins }: LoadedPolicy): void {
    this.#maps.delete('rules', rules)
    this.#maps.delete('ports', ports)
    for (const set of namedSets.values()) this.#maps.delete('ports', set.ports)
    this.#maps.delete('pins', entriesOf([...pins.values()].map(({ address }) => pinEntry(number, address, 0, 0n))))
  }

  /**
   * Opens an address for what the rules with this name say, until the answer ends. An address that several names lead to is open for
   * what any of them says. With `maxPins` open, others open nothing until some have ended: one policy does not take the room of all.
   */
  pin(loaded: LoadedPolicy, name: string, address: readonly number[], until: bigint): void {
    if (namedRules(loaded, name).length === 0) return
    const key = address.join('.')
    if (!loaded.pins.has(key) && loaded.pins.size >= maxPins) return
    const pin = loaded.pins.get(key) ?? { address, names: new Map<string, bigint>() }
    loaded.pins.set(key, pin)
    const before = pin.names.get(name) ?? 0n
    pin.names.set(name, until > before ? until : before)
    this.#write(loaded, pin)
  }

  /** Takes out what has ended; call it every second or so, which is by how much an address may stay open too long. */
  sweep(loaded: LoadedPolicy): void {
    const now = process.hrtime.bigint()
    for (const [key, pin] of loaded.pins) {
      const ended = [...pin.names].filter(([, end]) => end <= now)
      if (ended.length === 0) continue
      for (const [name] of ended) pin.names.delete(name)
      if (pin.names.size > 0) this.#write(loaded, pin)
      else {
        loaded.pins.delete(key)
        this.#maps.delete('pins', entriesOf([pinEntry(loaded.number, pin.address, 0, 0n)]))
      }
    }
  }

  /** What was resolved before a change of the policy stays open, if the new one says so. */
  inherit(loaded: LoadedPolicy, before: LoadedPolicy): void {
    const now = process.hrtime.bigint()
    for (const { address, names } of before.pins.values())
      for (const [name, end] of names) if (end > now) this.pin(loaded, name, address, end)
  }

  #write(loaded: LoadedPolicy, { address, names }: Pin): void {
    const set = this.#namedSet(loaded, [...names.keys()])
    const end = [...names.values()].reduce((a, b) => (a > b ? a : b))
    this.#maps.update('pins', entriesOf([pinEntry(loaded.number, address, set, end)]))
  }

  #namedSet(loaded: LoadedPolicy, names: readonly string[]): number {
    const indexes = [...new Set(names.flatMap((name) => namedRules(loaded, name)))].toSorted((a, b) => a - b)
    const key = indexes.join()
    const known = loaded.namedSets.get(key)
    if (known) return known.number
    const number = ++this.#sets
    const set = portSetOf(indexes.flatMap((index) => loaded.compiled.named[index] ?? []))
    const ports = entriesOf(portEntries(set, number))
    this.#maps.update('ports', ports)
    loaded.namedSets.set(key, { number, ports })
    return number
  }
}

/** Indexes of the rules that open or close the name. */
const namedRules = ({ compiled }: LoadedPolicy, asked: string): number[] =>
  compiled.named.flatMap(({ name = '' }, index) => (matchesName(name, asked) ? [index] : []))
