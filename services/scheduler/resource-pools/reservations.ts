/**
 * Capacity that is kept for functions and tenants: each place of it is a booking on one node, so that there is room for an instance in one piece and
 * not in sum. An instance of whoever reserved takes a place; when it ends, its place is kept again.
 */
import type { RevisionRef } from '../../contracts/placement.ts'
import { compareIds, freeMiB, freePlaces, functionKey, isOpen, load, type Instance, type Node } from '../pool.ts'
import type { UsageView } from './usage.ts'

export interface Reservation {
  readonly pool: string
  readonly tenant: string
  /** Absent: for the tenant, whatever the function. */
  readonly name?: string
  /** For instances, those that are there included. */
  readonly places: number
  /** Of one place. */
  readonly memoryMiB: number
}

interface Holder {
  readonly reservation: Reservation
  readonly key: string
  /** Places that wait for an instance, by node. */
  readonly kept: Map<Node, number>
  keptPlaces: number
}

/** What placement reads. */
export interface ReservationsView {
  /** Node with a place that is kept for such an instance, the least loaded one; ties by id. */
  keptNode(pool: string, revision: RevisionRef, memoryMiB: number, excluded: readonly string[]): Node | undefined
  /** A place that is reserved for the function or its tenant has no instance yet. */
  hasRight(pool: string, revision: Pick<RevisionRef, 'tenant' | 'name'>): boolean
  /** Instances of whoever reserved that others may end; by holder. A function may end its own. */
  guards(instance: Instance, forRevision: RevisionRef): readonly Guard[]
}

export interface Guard {
  readonly key: string
  readonly spare: number
}

const keyOf = ({ pool, tenant, name }: Omit<Reservation, 'places' | 'memoryMiB'>): string =>
  name === undefined ? `${pool}//${tenant}` : `${pool}/${tenant}/${name}`

export class Reservations implements ReservationsView {
  readonly #usage: UsageView
  readonly #keptChanged: (node: Node) => void
  readonly #holders = new Map<string, Holder>()
  /** Of functions, by their names. */
  readonly #byFunction = new Map<string, Holder>()
  readonly #byNode = new Map<Node, Set<Holder>>()
  /** Those with fewer places than they reserved. */
  readonly #short = new Set<Holder>()
  /** Memory of all reserved places, by pool. */
  readonly #reservedMiB = new Map<string, number>()

  /** @param keptChanged what is free on the node is something else now */
  constructor(usage: UsageView, keptChanged: (node: Node) => void) {
    this.#usage = usage
    this.#keptChanged = keptChanged
  }

  /** For a function or tenant that has no reservation in the pool. */
  reserve(reservation: Reservation): void {
    if (reservation.places === 0) return
    const key = keyOf(reservation)
    const holder: Holder = { reservation, key, kept: new Map(), keptPlaces: 0 }
    this.#holders.set(key, holder)
    const { tenant, name } = reservation
    if (name !== undefined) this.#byFunction.set(functionKey({ tenant, name }), holder)
    this.#addMiB(reservation, 1)
    this.#short.add(holder)
  }

  /** Nothing is reserved for the function any more. */
  free(tenant: string, name: string): void {
    const holder = this.#byFunction.get(functionKey({ tenant, name }))
    if (holder) this.#drop(holder)
  }

  /** Those for which nothing more could be kept so far; the next call begins with others. */
  *wanted(most: number): Generator<Reservation> {
    for (const holder of [...this.#short].slice(0, most)) {
      this.#short.delete(holder)
      if (this.#missing(holder) <= 0) continue
      yield holder.reservation
      if (this.#missing(holder) > 0) this.#short.add(holder)
    }
  }

  /** The node has room for it. @returns whether more of the reservation is to be kept */
  keep(reservation: Reservation, node: Node): boolean {
    const holder = this.#holders.get(keyOf(reservation))
    if (!holder || this.#missing(holder) <= 0) return false
    this.#keep(holder, node, 1)
    return this.#missing(holder) > 0
  }

  /** After the node knows it. */
  instanceAdded({ pool }: Instance): void {
    for (const holder of this.#holdersOf(pool.node.nodePool, pool.revision))
      while (holder.keptPlaces > 0 && this.#missing(holder) < 0) {
        const node = holder.kept.has(pool.node) ? pool.node : [...holder.kept.keys()].toSorted(byLoad).at(-1)
        if (node) this.#keep(holder, node, -1)
      }
  }

  /** Its room is kept for the next, before anybody else can have it. */
  instanceRemoved({ pool }: Instance): void {
    for (const holder of this.#holdersOf(pool.node.nodePool, pool.revision)) {
      if (this.#missing(holder) <= 0) continue
      if (hasRoom(pool.node, holder.reservation)) this.#keep(holder, pool.node, 1)
      if (this.#missing(holder) > 0) this.#short.add(holder)
    }
  }

  /** What was kept on a node that takes no instances, or that has less now, is kept elsewhere. */
  nodeChanged(node: Node): void {
    if (node.kept.places === 0 || (isOpen(node) && freeMiB(node) >= 0 && freePlaces(node) >= 0)) return
    this.nodeRemoved(node)
  }

  nodeRemoved(node: Node): void {
    for (const holder of this.#byNode.get(node) ?? []) {
      this.#keep(holder, node, -(holder.kept.get(node) ?? 0))
      this.#short.add(holder)
    }
  }

  keptNode(pool: string, revision: RevisionRef, memoryMiB: number, excluded: readonly string[]): Node | undefined {
    for (const { kept, reservation } of this.#holdersOf(pool, revision)) {
      const fitting = [...kept.keys()].filter(
        (node) => !excluded.includes(node.id) && freeMiB(node) + reservation.memoryMiB >= memoryMiB,
      )
      const node = fitting.toSorted(byLoad)[0]
      if (node) return node
    }
    return undefined
  }

  hasRight(pool: string, revision: Pick<RevisionRef, 'tenant' | 'name'>): boolean {
    if (this.#holders.size === 0) return false
    // What cannot be kept for all of them is nobody's right.
    if ((this.#reservedMiB.get(pool) ?? 0) > this.#usage.capacityOf(pool).memoryMiB) return false
    return this.#holdersOf(pool, revision).some((holder) => this.#used(holder) < holder.reservation.places)
  }

  guards({ pool }: Instance, forRevision: RevisionRef): readonly Guard[] {
    const { node, revision } = pool
    return this.#holdersOf(node.nodePool, revision)
      .filter(({ reservation: { tenant, name } }) => !isFor(forRevision, tenant, name))
      .map((holder) => ({ key: holder.key, spare: this.#used(holder) - holder.reservation.places }))
  }

  /** Of a reservation: places that wait for an instance, and those that could not be kept. */
  state(reservation: Omit<Reservation, 'places' | 'memoryMiB'>): { kept: number; missing: number } {
    const holder = this.#holders.get(keyOf(reservation))
    return holder ? { kept: holder.keptPlaces, missing: Math.max(0, this.#missing(holder)) } : { kept: 0, missing: 0 }
  }

  #holdersOf(pool: string, { tenant, name }: Pick<RevisionRef, 'tenant' | 'name'>): readonly Holder[] {
    if (this.#holders.size === 0) return none
    const own = this.#holders.get(keyOf({ pool, tenant, name }))
    const tenants = this.#holders.get(keyOf({ pool, tenant }))
    if (!own && !tenants) return none
    return [own, tenants].filter((holder) => holder !== undefined)
  }

  #used({ reservation: { pool, tenant, name } }: Holder): number {
    const amount =
      name === undefined ? this.#usage.ofTenant(pool, tenant) : this.#usage.ofFunction(pool, { tenant, name })
    return amount.instances
  }

  #missing(holder: Holder): number {
    return holder.reservation.places - this.#used(holder) - holder.keptPlaces
  }

  #keep(holder: Holder, node: Node, places: number): void {
    const now = (holder.kept.get(node) ?? 0) + places
    const holders = this.#byNode.get(node) ?? new Set()
    if (now === 0) {
      holder.kept.delete(node)
      holders.delete(holder)
    } else {
      holder.kept.set(node, now)
      holders.add(holder)
    }
    if (holders.size === 0) this.#byNode.delete(node)
    else this.#byNode.set(node, holders)
    holder.keptPlaces += places
    node.kept.places += places
    node.kept.memoryMiB += places * holder.reservation.memoryMiB
    this.#keptChanged(node)
  }

  #drop(holder: Holder): void {
    for (const [node, places] of holder.kept) this.#keep(holder, node, -places)
    this.#short.delete(holder)
    this.#holders.delete(holder.key)
    const { tenant, name } = holder.reservation
    if (name !== undefined) this.#byFunction.delete(functionKey({ tenant, name }))
    this.#addMiB(holder.reservation, -1)
  }

  #addMiB({ pool, places, memoryMiB }: Reservation, sign: 1 | -1): void {
    this.#reservedMiB.set(pool, (this.#reservedMiB.get(pool) ?? 0) + sign * places * memoryMiB)
  }
}

const none: readonly Holder[] = []

const byLoad = (a: Node, b: Node): number => load(a) - load(b) || compareIds(a.id, b.id)

const isFor = (revision: RevisionRef, tenant: string, name: string | undefined): boolean =>
  revision.tenant === tenant && (name === undefined || revision.name === name)

const hasRoom = (node: Node, { memoryMiB }: Reservation): boolean =>
  isOpen(node) && freeMiB(node) >= memoryMiB && freePlaces(node) > 0
