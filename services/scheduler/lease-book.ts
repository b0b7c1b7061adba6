/**
 * Which invocation holds a slot of which pool. A lease ends when its node tells that the invocation has ended. When its gateway told that before,
 * it is _over_: it holds no slot, and what the node still counts as in flight for it is nobody's.
 */
import type { Lease, Pool } from './pool.ts'

/** A lease outlives its deadline by this much: the node's report of the end is on its way. */
const slackMs = 2_000
/**
 * The report of the end of a lease that is over comes within this, or never: its request was given up before it came to the node. Long enough for a
 * scheduler that is behind with its reports: what is forgotten too early takes a slot, and starts more.
 */
const overWithinMs = 5_000
/** Time in which a lent request surely reached the node. */
const deliveredWithinMs = 2_000

export class LeaseBook {
  readonly #leases = new Map<string, Lease>()
  readonly #slotsHeld: (pool: Pool, by: number) => void
  #overs = 0

  /** @param slotsHeld told how many slots of a pool are held more, or fewer */
  constructor(slotsHeld: (pool: Pool, by: number) => void) {
    this.#slotsHeld = slotsHeld
  }

  /** Leases that hold a slot. */
  get size(): number {
    return this.#leases.size - this.#overs
  }

  /** All of them, over or not; they may end meanwhile. */
  invocationIds(): Iterable<string> {
    return this.#leases.keys()
  }

  /** The invocation must have no lease. @param deadlineAt epoch milliseconds */
  begin(pool: Pool, invocationId: string, deadlineAt: number, now: number): void {
    const expiresAt = deadlineAt + slackMs
    const lease: Lease = { invocationId, pool, lentAt: now, expiresAt, at: pool.leases.length, overAt: undefined }
    pool.leases.push(lease)
    this.#leases.set(invocationId, lease)
    this.#slotsHeld(pool, 1)
  }

  /** @returns the pool, which has its slot back; nothing when there is no such lease, or it is over already */
  over(invocationId: string, now: number): Pool | undefined {
    const lease = this.#leases.get(invocationId)
    if (!lease || lease.overAt !== undefined) return undefined
    this.#freeSlot(lease)
    lease.overAt = now
    lease.pool.over++
    this.#overs++
    return lease.pool
  }

  /** @returns the pool, whose slots are to be looked at again */
  end(invocationId: string): Pool | undefined {
    const lease = this.#leases.get(invocationId)
    if (!lease) return undefined
    const { pool, overAt } = lease
    this.#leases.delete(invocationId)
    if (overAt === undefined) this.#freeSlot(lease)
    else {
      pool.over--
      this.#overs--
    }
    return pool
  }

  /** What ends by the clock alone. Looking at all of them some times a second costs less than an order of them, which each placement would change twice. */
  *due(now: number): Iterable<string> {
    for (const { invocationId, expiresAt, overAt } of this.#leases.values())
      if (overAt === undefined ? expiresAt <= now : overAt + overWithinMs <= now) yield invocationId
  }

  /**
   * Where an instance is idle nothing waits: leases that are neither in flight nor fresh lost the report of their end. Which of
   * them it was cannot be known and does not matter; the count does.
   */
  lost(pool: Pool, now: number): string[] {
    if (pool.leases.length === 0 || (pool.idle === 0 && pool.instances.size > 0)) return []
    const old = pool.leases.filter(({ lentAt }) => now - lentAt > deliveredWithinMs)
    return old.slice(0, Math.max(0, old.length - pool.inFlight)).map(({ invocationId }) => invocationId)
  }

  #freeSlot(lease: Lease): void {
    const { pool } = lease
    const last = pool.leases.pop()
    if (last && last !== lease) {
      pool.leases[lease.at] = last
      last.at = lease.at
    }
    this.#slotsHeld(pool, -1)
  }
}
