/**
 * The multi-level cache: what this node holds for each function and runtime, within its budget. A pure function of its input, so that
 * any decision can be replayed and explained; docs/decisions/0029 says why it decides as it does.
 *
 * Every level is offered one unit at a time, and the unit that saves most latency per MiB and second is taken, until nothing is
 * worth its memory or nothing fits. What did not fit sets the price that idle instances have to be worth.
 */
import type { CacheDecision, CacheInput, RevisionInput, RuntimeDecision } from './input.ts'
import { RevisionShare } from './revision-share.ts'
import { RuntimeShare } from './runtime-share.ts'
import { floorPrice, type Offer } from './worth.ts'

interface Owner {
  offers(): Offer[]
}

interface Purse {
  budgetMiB: number
  roomMiB: number
}

export const decide = (input: CacheInput): CacheDecision => {
  if (input.mode === 'strict-cold') return nothing(input, 'strict-cold: nothing is held')
  // What functions get elsewhere depends on what runtimes hold, and that on nothing of theirs.
  const alone = input.runtimes.map((runtime) => new RuntimeShare(runtime, input))
  share(alone, purseOf(input))
  const runtimes = input.runtimes.map((runtime) => new RuntimeShare(runtime, input))
  const seeded = withFixedSeed(input)
  const revisions = input.revisions.flatMap((revision) => {
    const at = input.runtimes.findIndex(({ runtime }) => runtime === revision.runtime)
    const [runtime, before] = [input.runtimes[at], alone[at]]
    if (!runtime || !before) return []
    return new RevisionShare(revision, runtime, before.nextStartMs, input, seeded.has(revision))
  })
  const all = [...runtimes, ...revisions]
  const purse = purseOf(input)
  let fixedMiB = 0
  for (const owner of all) {
    const fixed = owner.takeFixed(purse.roomMiB)
    purse.roomMiB -= fixed.roomMiB
    purse.budgetMiB = Math.max(0, purse.budgetMiB - fixed.memoryMiB)
    fixedMiB += fixed.memoryMiB
  }
  const before = purse.budgetMiB
  const price = share(all, purse)
  const idleMiB = () => revisions.reduce((sum, owner) => sum + owner.idleMiB, 0)
  const idleBefore = idleMiB()
  const decided = revisions.map((owner) => owner.decision(price))
  return {
    plannedMiB: fixedMiB + before - purse.budgetMiB - (idleBefore - idleMiB()),
    fixedMiB,
    price,
    revisions: decided,
    runtimes: runtimes.map((owner) => owner.decision()),
  }
}

const purseOf = ({ budgetMiB, roomMiB }: CacheInput): Purse => ({
  budgetMiB: Math.max(0, budgetMiB),
  roomMiB: Math.max(0, roomMiB),
})

/** Takes the best offers that fit. @returns the price: the best that did not fit, or the least that anything must be worth. */
const share = (owners: readonly Owner[], purse: Purse): number => {
  const fits = ({ memoryMiB, roomMiB }: Offer): boolean => memoryMiB <= purse.budgetMiB && roomMiB <= purse.roomMiB
  const bestOf = (owner: Owner): Offer | undefined =>
    first(owner.offers().filter((offer) => offer.worth >= floorPrice && fits(offer)))
  const best = owners.map(bestOf)
  for (;;) {
    let chosen = -1
    for (const [at, owner] of owners.entries()) {
      // What fitted before others were served may not fit now.
      if (best[at] && !fits(best[at])) best[at] = bestOf(owner)
      if ((best[at]?.worth ?? 0) > (best[chosen]?.worth ?? 0)) chosen = at
    }
    const [offer, owner] = [best[chosen], owners[chosen]]
    if (!offer || !owner) break
    offer.take()
    purse.budgetMiB -= offer.memoryMiB
    purse.roomMiB -= offer.roomMiB
    best[chosen] = bestOf(owner)
  }
  return Math.max(floorPrice, ...owners.flatMap((owner) => owner.offers().map(({ worth }) => worth)))
}

const first = (offers: readonly Offer[]): Offer | undefined =>
  offers.reduce<Offer | undefined>((best, offer) => (best && best.worth >= offer.worth ? best : offer), undefined)

/** `seeds` functions that were called lately, the latest first. */
const withFixedSeed = ({ fixed, revisions, now }: CacheInput): ReadonlySet<RevisionInput> => {
  const usedAt = ({ history }: RevisionInput): number => history.idleSince ?? now
  return new Set(
    revisions
      .filter((revision) => revision.forkRefused === undefined && now - usedAt(revision) <= fixed.seedIdleMs)
      .toSorted((a, b) => usedAt(b) - usedAt(a))
      .slice(0, fixed.seeds ?? 0),
  )
}

const nothing = ({ revisions, runtimes }: CacheInput, reason: string): CacheDecision => {
  const none = { count: 0, reason }
  return {
    plannedMiB: 0,
    fixedMiB: 0,
    price: floorPrice,
    revisions: revisions.map(({ key }) => ({ key, idle: { ...none, keepAliveMs: 0 }, seed: none, parkedFork: none })),
    runtimes: runtimes.map(({ runtime }): RuntimeDecision => ({ runtime, created: none, parked: none })),
  }
}
