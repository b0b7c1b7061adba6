/**
 * Who waits for room in a pool, and who has to leave it to them. Without that a tenant that fills a pool could keep it for ever: its next requests take
 * every slot that its last ones free, and nothing ever ends.
 */
import type { PlacementRequest, RevisionRef } from '../../contracts/placement.ts'
import { functionKey } from '../pool.ts'
import type { ReservationsView } from './reservations.ts'
import type { UsageView, Wish } from './usage.ts'

/** `reserved`: there are places that are the function's or the tenant's. `share`: the tenant has less than its share, and another more. */
export type Right = 'reserved' | 'share'

/**
 * Everybody may have no more than their share, and yet no node room in one piece. A tenant that has nothing, and has waited for so long, is left room
 * by all others.
 */
const allYieldAfterMs = 2_000

interface Waiter {
  readonly revision: Pick<RevisionRef, 'tenant' | 'name'>
  readonly memoryMiB: number
  readonly right: Right
  /** Epoch milliseconds. */
  readonly since: number
  count: number
}

const wishOf = (tenant: string, memoryMiB: number): Wish => ({ tenant, more: { instances: 1, memoryMiB } })

type Asked = Pick<PlacementRequest, 'revision' | 'memoryMiB' | 'reservedConcurrency'>

/** What placement reads. */
export interface ContentionView {
  /** Why such a request waits for room, where there is none now, instead of being refused. */
  rightTo(pool: string, asked: Asked): Right | undefined
  /** Somebody waits whom the request must leave what is free. @returns who */
  yieldsTo(pool: string, asked: Asked, now: number): string | undefined
}

export class Contention implements ContentionView {
  readonly #usage: UsageView
  readonly #reservations: ReservationsView
  readonly #pools = new Map<string, Map<string, Waiter>>()

  constructor(usage: UsageView, reservations: ReservationsView) {
    this.#usage = usage
    this.#reservations = reservations
  }

  rightTo(pool: string, { revision, memoryMiB }: Asked): Right | undefined {
    // No end of anybody's makes room for what is larger than a node.
    if (memoryMiB > this.#usage.largestNodeMiB(pool)) return undefined
    if (this.#reservations.hasRight(pool, revision)) return 'reserved'
    const wish = wishOf(revision.tenant, memoryMiB)
    const wanting = this.#wanting(pool).add(revision.tenant)
    const mayWait =
      this.#usage.isBelowShare(pool, wish, wanting) &&
      (this.#usage.hasNothing(pool, wish.tenant)
        ? this.#usage.othersHaveSomething(pool, wish.tenant)
        : this.#usage.somebodyHasToLeave(pool, wish, wanting))
    return mayWait ? 'share' : undefined
  }

  yieldsTo(pool: string, { revision, reservedConcurrency }: Asked, now: number): string | undefined {
    const waiters = this.#pools.get(pool)
    // What runs within a reservation is nobody else's.
    if (!waiters || reservedConcurrency !== undefined) return undefined
    const { tenant } = revision
    const wanting = this.#wanting(pool)
    for (const { revision: theirs, memoryMiB, right, since } of waiters.values()) {
      if (right === 'reserved') {
        if (functionKey(theirs) !== functionKey(revision) && this.#reservations.hasRight(pool, theirs))
          return `${theirs.name} of tenant ${theirs.tenant}, for which capacity is reserved`
      } else {
        if (theirs.tenant === tenant) continue
        const wish = wishOf(theirs.tenant, memoryMiB)
        const leaves =
          this.#usage.hasToLeave(pool, tenant, wish, wanting) && this.#usage.isBelowShare(pool, wish, wanting)
        if (leaves || (now - since > allYieldAfterMs && this.#usage.hasNothing(pool, theirs.tenant)))
          return `tenant ${theirs.tenant}, which has less than its share of the pool`
      }
    }
    return undefined
  }

  /** Tenants that wait. */
  #wanting(pool: string): Set<string> {
    return new Set([...(this.#pools.get(pool)?.values() ?? [])].map(({ revision: { tenant } }) => tenant))
  }

  /** @returns what ends the waiting */
  wait(pool: string, { revision, memoryMiB }: Asked, right: Right, now: number): () => void {
    const waiters = this.#pools.get(pool) ?? new Map<string, Waiter>()
    this.#pools.set(pool, waiters)
    const key = `${right}/${functionKey(revision)}/${memoryMiB}`
    const waiter = waiters.get(key) ?? { revision, memoryMiB, right, since: now, count: 0 }
    waiters.set(key, waiter)
    waiter.count++
    return () => {
      if (--waiter.count > 0) return
      waiters.delete(key)
      if (waiters.size === 0) this.#pools.delete(pool)
    }
  }
}
