/**
 * Placements that wait: for a node, for a slot of their revision, or for their turn to start an instance. First come, first served within a
 * revision; in turn among tenants and among the revisions of a tenant, so that nobody waits for another's burst.
 */
import { PlatformError, type ErrorCode } from '../contracts/errors.ts'
import { revisionKey, type Placement, type PlacementRequest, type RevisionRef } from '../contracts/placement.ts'
import { noPlaces, OrderedHeap, type Placed } from './ordered-heap.ts'
import { compareIds } from './pool.ts'

export interface WaitingPlacement extends Placed {
  readonly request: PlacementRequest
  readonly key: string
  /** Epoch milliseconds. */
  readonly giveUpAt: number
  /** The caller has given up or is away. */
  readonly gone: () => boolean
  readonly resolve: (placement: Placement) => void
  readonly reject: (error: PlatformError) => void
  /** What it is refused with when it has waited for too long; absent: the deadline, or that there is no node. */
  tooLate: TooLate | undefined
  /** Called when it waits no longer. */
  over: (() => void) | undefined
}

export interface TooLate {
  readonly code: ErrorCode
  readonly message: string
}

/** Beyond a slot or a turn. */
export interface WaitingFor {
  readonly tooLate: TooLate
  /** Called when it waits. @returns what is called when it does no longer */
  readonly begin?: (() => () => void) | undefined
}

export interface WaitingLimits {
  readonly all: number
  readonly perFunction: number
}

type Queue = Set<WaitingPlacement>

const tooMany = (limit: keyof WaitingLimits | 'closed'): PlatformError =>
  new PlatformError('TOO_MANY_REQUESTS', `too many placements wait: ${limit}`, { limit })

const byTime = (a: WaitingPlacement, b: WaitingPlacement): number =>
  a.giveUpAt - b.giveUpAt || compareIds(a.request.invocationId, b.request.invocationId)

export class WaitingPlacements {
  readonly #limits: WaitingLimits
  /** Tenant -> revision -> queue. Whoever was served last is last in its map. */
  readonly #tenants = new Map<string, Map<string, Queue>>()
  readonly #byTime = new OrderedHeap(byTime)
  #closed = false

  constructor(limits: WaitingLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#byTime.size
  }

  /** Tenants for which something waits. */
  get tenants(): number {
    return this.#tenants.size
  }

  /** @throws PlatformError TOO_MANY_REQUESTS where as many of the revision wait as may */
  requireRoom(revision: RevisionRef): void {
    if (this.size < this.#limits.perFunction) return
    const queue = this.#tenants.get(revision.tenant)?.get(revisionKey(revision))
    if (queue && queue.size >= this.#limits.perFunction) throw tooMany('perFunction')
  }

  /** @throws PlatformError TOO_MANY_REQUESTS naming the limit that is reached; what it rejects with: see `fail` and `expire` */
  add(request: PlacementRequest, giveUpAt: number, gone: () => boolean, more?: WaitingFor): Promise<Placement> {
    const { tenant } = request.revision
    const key = revisionKey(request.revision)
    const revisions = this.#tenants.get(tenant) ?? new Map<string, Queue>()
    const queue: Queue = revisions.get(key) ?? new Set()
    if (this.size >= this.#limits.all) throw tooMany('all')
    this.requireRoom(request.revision)
    if (this.#closed) throw tooMany('closed')
    const { promise, resolve, reject } = Promise.withResolvers<Placement>()
    const { tooLate, begin } = more ?? {}
    const item: WaitingPlacement = {
      request,
      key,
      giveUpAt,
      gone,
      resolve,
      reject,
      tooLate,
      over: begin?.(),
      places: noPlaces(1),
    }
    queue.add(item)
    this.#tenants.set(tenant, revisions.set(key, queue))
    this.#byTime.put(item)
    return promise
  }

  /** The first one of the revision whose caller still waits; it stays where it is. */
  first(tenant: string, key: string): WaitingPlacement | undefined {
    for (const item of this.#tenants.get(tenant)?.get(key) ?? []) {
      if (!item.gone()) return item
      this.#fail(item, 'DEADLINE_EXCEEDED', 'the caller did not wait')
    }
    return undefined
  }

  /** Whose turn it is; the next call is about the next tenant. */
  next(): WaitingPlacement | undefined {
    for (const [tenant, revisions] of this.#tenants)
      for (const [key, queue] of revisions) {
        const item = this.first(tenant, key)
        if (!item) continue
        revisions.delete(key)
        revisions.set(key, queue)
        this.#tenants.delete(tenant)
        this.#tenants.set(tenant, revisions)
        return item
      }
    return undefined
  }

  /** It waits no longer. */
  remove(item: WaitingPlacement): void {
    const { tenant } = item.request.revision
    const revisions = this.#tenants.get(tenant)
    const queue = revisions?.get(item.key)
    if (!queue?.delete(item)) return
    this.#byTime.delete(item)
    item.over?.()
    if (queue.size === 0) revisions?.delete(item.key)
    if (revisions?.size === 0) this.#tenants.delete(tenant)
  }

  /** @param hasNode whether some node takes placements: what they waited for then was a slot. */
  expire(now: number, hasNode: boolean): void {
    for (let item = this.#byTime.first(); item && item.giveUpAt <= now; item = this.#byTime.first())
      if (item.tooLate) this.#fail(item, item.tooLate.code, item.tooLate.message)
      else if (hasNode) this.#fail(item, 'DEADLINE_EXCEEDED', 'no slot was free in time')
      else this.#fail(item, 'NO_CAPACITY', 'no node took placements in time')
  }

  /** Nothing waits any more, and nothing ever will. */
  close(): void {
    this.#closed = true
    this.failAll('NO_CAPACITY', 'the scheduler ends')
  }

  failAll(code: ErrorCode, message: string): void {
    for (let item = this.#byTime.first(); item; item = this.#byTime.first()) this.#fail(item, code, message)
  }

  #fail(item: WaitingPlacement, code: ErrorCode, message: string): void {
    this.remove(item)
    item.reject(new PlatformError(code, message))
  }
}
