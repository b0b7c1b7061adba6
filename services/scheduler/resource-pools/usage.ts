/** What tenants and functions hold in each pool of nodes, and what of it is their share. Counted with each change, so that a decision only looks it up. */
import type { RevisionRef } from '../../contracts/placement.ts'
import type { ResourcePool } from '../../contracts/resource-pool.ts'
import { functionKey, isOpen, type Instance, type Node, type Pool } from '../pool.ts'

export interface Amount {
  readonly instances: number
  readonly memoryMiB: number
}

/** Tenants that want something in the pool: shares are divided among them and those who have something. */
export type Wanting = ReadonlySet<string>

export interface Wish {
  readonly tenant: string
  readonly more: Amount
}

interface PoolUse {
  readonly weights: Readonly<Record<string, number>>
  /** Of its open nodes. */
  readonly nodes: Map<Node, Amount>
  capacity: Amount
  largestNodeMiB: number
  readonly tenants: Map<string, Amount>
  readonly functions: Map<string, Amount>
}

export interface UsageView {
  /** Of all versions. In constant time. */
  ofFunction(pool: string, revision: Pick<RevisionRef, 'tenant' | 'name'>): Amount
  ofTenant(pool: string, tenant: string): Amount
  hasNothing(pool: string, tenant: string): boolean
  othersHaveSomething(pool: string, tenant: string): boolean
  /** With what it wants. A tenant that has nothing yet always is: its first instance may be larger than its share. */
  isBelowShare(pool: string, wish: Wish, wanting: Wanting): boolean
  /** The tenant has more than its share of what is left when the other has its own. */
  hasToLeave(pool: string, tenant: string, to: Wish, wanting: Wanting): boolean
  /** Some tenant has. */
  somebodyHasToLeave(pool: string, to: Wish, wanting: Wanting): boolean
  capacityOf(pool: string): Amount
  largestNodeMiB(pool: string): number
}

export const nothing: Amount = { instances: 0, memoryMiB: 0 }

/** The larger of its parts of the memory and of the places. */
const partOf = ({ capacity }: PoolUse, { instances, memoryMiB }: Amount): number =>
  capacity.instances === 0 ? 0 : Math.max(instances / capacity.instances, memoryMiB / capacity.memoryMiB)

const plus = (a: Amount, b: Amount, sign: 1 | -1 = 1): Amount => ({
  instances: a.instances + sign * b.instances,
  memoryMiB: a.memoryMiB + sign * b.memoryMiB,
})

const addTo = (map: Map<string, Amount>, key: string, amount: Amount, sign: 1 | -1): void => {
  const sum = plus(map.get(key) ?? nothing, amount, sign)
  if (sum.instances === 0) map.delete(key)
  else map.set(key, sum)
}

export class Usage implements UsageView {
  readonly #pools = new Map<string, PoolUse>()
  readonly #rules: readonly ResourcePool[]

  constructor(rules: readonly ResourcePool[]) {
    this.#rules = rules
  }

  ofFunction(pool: string, revision: Pick<RevisionRef, 'tenant' | 'name'>): Amount {
    return this.#pools.get(pool)?.functions.get(functionKey(revision)) ?? nothing
  }

  ofTenant(pool: string, tenant: string): Amount {
    return this.#pools.get(pool)?.tenants.get(tenant) ?? nothing
  }

  hasNothing(pool: string, tenant: string): boolean {
    return this.#pools.get(pool)?.tenants.has(tenant) !== true
  }

  othersHaveSomething(pool: string, tenant: string): boolean {
    const tenants = this.#pools.get(pool)?.tenants
    return tenants !== undefined && tenants.size > (tenants.has(tenant) ? 1 : 0)
  }

  capacityOf(pool: string): Amount {
    return this.#pools.get(pool)?.capacity ?? nothing
  }

  largestNodeMiB(pool: string): number {
    return this.#pools.get(pool)?.largestNodeMiB ?? 0
  }

  isBelowShare(pool: string, { tenant, more }: Wish, wanting: Wanting): boolean {
    const use = this.#pools.get(pool)
    const has = use?.tenants.get(tenant)
    if (!use || !has) return true
    return partOf(use, plus(has, more)) * this.#weights(use, wanting) <= this.#weight(use, tenant)
  }

  hasToLeave(pool: string, tenant: string, to: Wish, wanting: Wanting): boolean {
    const use = this.#pools.get(pool)
    const has = use?.tenants.get(tenant)
    if (!use || !has || tenant === to.tenant) return false
    return partOf(use, has) > this.#leftPerWeight(use, to, wanting) * this.#weight(use, tenant)
  }

  somebodyHasToLeave(pool: string, to: Wish, wanting: Wanting): boolean {
    const use = this.#pools.get(pool)
    if (!use) return false
    const left = this.#leftPerWeight(use, to, wanting)
    for (const [tenant, has] of use.tenants)
      if (tenant !== to.tenant && partOf(use, has) > left * this.#weight(use, tenant)) return true
    return false
  }

  added({ pool, memoryMiB }: Instance): void {
    this.#count(pool, memoryMiB, 1)
  }

  removed({ pool, memoryMiB }: Instance): void {
    this.#count(pool, memoryMiB, -1)
  }

  nodeChanged(node: Node): void {
    const { capacity } = node
    this.#nodeIs(node, isOpen(node) ? { instances: capacity.instances, memoryMiB: capacity.memoryMiB } : undefined)
  }

  nodeRemoved(node: Node): void {
    this.#nodeIs(node, undefined)
  }

  #nodeIs(node: Node, now: Amount | undefined): void {
    const use = this.#use(node.nodePool)
    const before = use.nodes.get(node)
    if (before?.memoryMiB === now?.memoryMiB && before?.instances === now?.instances) return
    if (now) use.nodes.set(node, now)
    else use.nodes.delete(node)
    use.capacity = plus(plus(use.capacity, now ?? nothing), before ?? nothing, -1)
    if (now && now.memoryMiB >= use.largestNodeMiB) use.largestNodeMiB = now.memoryMiB
    else if (before?.memoryMiB === use.largestNodeMiB)
      use.largestNodeMiB = [...use.nodes.values()].reduce((most, { memoryMiB }) => Math.max(most, memoryMiB), 0)
  }

  /** Part of the pool for each unit of weight of all but one tenant, when that one has its share, or what it wants if that is more. */
  #leftPerWeight(use: PoolUse, { tenant, more }: Wish, wanting: Wanting): number {
    const own = this.#weight(use, tenant)
    const weights = this.#weights(use, wanting)
    const others = weights - (use.tenants.has(tenant) || wanting.has(tenant) ? own : 0)
    const takes = Math.max(own / weights, partOf(use, plus(use.tenants.get(tenant) ?? nothing, more)))
    return others > 0 ? Math.max(0, 1 - takes) / others : 0
  }

  /** Of all tenants that have or want something. */
  #weights(use: PoolUse, wanting: Wanting): number {
    let sum = 0
    for (const each of wanting) if (!use.tenants.has(each)) sum += this.#weight(use, each)
    for (const each of use.tenants.keys()) sum += this.#weight(use, each)
    return sum
  }

  #weight({ weights }: PoolUse, tenant: string): number {
    return (Object.hasOwn(weights, tenant) ? weights[tenant] : undefined) ?? 1
  }

  #count({ node, revision, functionKey: key }: Pool, memoryMiB: number, sign: 1 | -1): void {
    const use = this.#use(node.nodePool)
    const amount = { instances: 1, memoryMiB }
    addTo(use.tenants, revision.tenant, amount, sign)
    addTo(use.functions, key, amount, sign)
  }

  #use(pool: string): PoolUse {
    const known = this.#pools.get(pool)
    if (known) return known
    const weights = this.#rules.find(({ name }) => name === pool)?.weights ?? {}
    const use = {
      weights,
      nodes: new Map(),
      capacity: nothing,
      largestNodeMiB: 0,
      tenants: new Map(),
      functions: new Map(),
    }
    this.#pools.set(pool, use)
    return use
  }
}
