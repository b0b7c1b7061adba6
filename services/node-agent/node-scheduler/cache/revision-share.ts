/** Of one revision of a function: idle instances that stay, a seed, and forks of it that wait. */
import { IdleTimes, mostNeeded, needOf, prospect, type Prospect } from './history.ts'
import type { CacheInput, LevelDecision, RevisionDecision, RevisionInput, RuntimeInput } from './input.ts'
import { duration, perCent } from './words.ts'
import { bestKeepAlive, cpuPrice, floorPrice, horizonMs, worthOf, type KeepAlive, type Offer } from './worth.ts'

interface Count {
  readonly idle: number
  readonly seed: number
  readonly parkedFork: number
}

/** Needs beyond that are met by starts of the moment. */
const mostConsidered = 32

export class RevisionShare {
  readonly #input: RevisionInput
  readonly #costs: RuntimeInput['costs']
  readonly #around: CacheInput
  readonly #fixedSeed: boolean
  /** A start with nothing of its own held. */
  readonly #coldMs: number
  readonly #times: IdleTimes
  readonly #prospect: Prospect
  readonly #needs: readonly number[]
  #keepAlive: KeepAlive
  #count: Count = { idle: 0, seed: 0, parkedFork: 0 }
  #worth: Count = { idle: 0, seed: 0, parkedFork: 0 }

  /** @param startMs what a start takes that is no fork, without the function's own initialisation */
  constructor(input: RevisionInput, runtime: RuntimeInput, startMs: number, around: CacheInput, fixedSeed: boolean) {
    const { history, policy } = input
    this.#input = input
    this.#costs = runtime.costs
    this.#around = around
    this.#fixedSeed = fixedSeed
    this.#coldMs = startMs + input.initMs
    this.#times = new IdleTimes(history)
    this.#prospect = prospect(history, this.#times, around.now, horizonMs)
    const most = Math.min(mostConsidered, mostNeeded(history, policy.concurrency))
    this.#needs = Array.from({ length: most }, (_, k) => needOf(history, k + 1, policy.concurrency))
    this.#keepAlive = bestKeepAlive(this.#times, this.#coldMs, input.idleMiB, floorPrice)
  }

  get #strict(): boolean {
    return this.#input.policy.cache === 'strict-cold'
  }

  /** Idle instances whose time their function fixes, and the operator's seeds. */
  takeFixed(roomMiB: number): Pick<Offer, 'memoryMiB' | 'roomMiB'> {
    if (this.#strict) return { memoryMiB: 0, roomMiB: 0 }
    const { policy, instances, idleMiB } = this.#input
    const idle = policy.reuse && (policy.keepAliveMs ?? 0) > 0 ? instances : 0
    const { parkedForks = 0 } = this.#around.fixed
    const { seed, parkedFork } = this.#costs.memoryMiB
    const seedMiB = this.#fixedSeed ? seed + parkedForks * parkedFork : 0
    const fits = this.#fixedSeed && seedMiB <= roomMiB
    this.#count = { idle, seed: fits ? 1 : 0, parkedFork: fits ? parkedForks : 0 }
    const roomTaken = fits ? seedMiB : 0
    return { memoryMiB: roomTaken + idle * idleMiB, roomMiB: roomTaken }
  }

  offers(): Offer[] {
    if (this.#strict) return []
    const { seed, parkedFork } = this.#count
    const { seeds, parkedForks } = this.#around.fixed
    const offers = this.#idleOffer()
    if (this.#input.forkRefused !== undefined) return offers
    if (seed === 0 && seeds === undefined) {
      const ahead = parkedForks === undefined ? [0, 1] : [parkedForks]
      for (const parked of ahead) offers.push(this.#forkOffer(1, parked))
    } else if (seed === 1 && parkedForks === undefined && parkedFork < this.#around.maxParkedForks)
      offers.push(this.#forkOffer(1, parkedFork + 1))
    return offers
  }

  /** MiB of the idle instances that are kept. Known once the decision is. */
  get idleMiB(): number {
    return this.#count.idle * this.#input.idleMiB
  }

  /** @param price what a MiB is worth per second to others */
  decision(price: number): RevisionDecision {
    const { key, idleMiB } = this.#input
    const saved = this.#latency(1, { ...this.#count, idle: 0 })
    if (saved !== this.#coldMs || price !== floorPrice)
      this.#keepAlive = bestKeepAlive(this.#times, saved, idleMiB, price)
    // At the price that others make, they may not be worth keeping at all.
    if (this.#input.policy.keepAliveMs === undefined && this.#keepAlive.ms === 0)
      this.#count = { ...this.#count, idle: 0 }
    return { key, idle: this.#describeIdle(), seed: this.#describeSeed(), parkedFork: this.#describeParked() }
  }

  #idleOffer(): Offer[] {
    const { policy, instances, idleMiB: memoryMiB } = this.#input
    const { idle } = this.#count
    if (!policy.reuse || policy.keepAliveMs !== undefined || idle >= instances || this.#overdue) return []
    const need = this.#needs[idle] ?? 0
    const saved = this.#latency(idle + 1, this.#count)
    const worth = need * this.#keepAlive.worth * (saved / this.#coldMs)
    const take = (): void => {
      this.#count = { ...this.#count, idle: idle + 1 }
      this.#worth = { ...this.#worth, idle: worth }
    }
    return [{ memoryMiB, roomMiB: 0, worth, take }]
  }

  #forkOffer(seed: number, parkedFork: number): Offer {
    const { held } = this.#input
    const { memoryMiB: each, cpuMs } = this.#costs
    const more = { ...this.#count, seed, parkedFork }
    const memoryMiB = (seed - this.#count.seed) * each.seed + (parkedFork - this.#count.parkedFork) * each.parkedFork
    const made =
      (seed > Number(held.seed) ? cpuMs.seed : 0) + Math.max(0, parkedFork - held.parkedForks) * cpuMs.parkedFork
    const gain = this.#loss(this.#count) - this.#loss(more) - made * cpuPrice
    const worth = worthOf(gain, memoryMiB, horizonMs)
    const take = (): void => {
      this.#count = more
      this.#worth = { ...this.#worth, seed: Math.max(worth, this.#worth.seed), parkedFork: worth }
    }
    return { memoryMiB, roomMiB: memoryMiB, worth, take }
  }

  /** Idle for longer than anything should be kept for it. */
  get #overdue(): boolean {
    const { idleSince } = this.#input.history
    return idleSince !== undefined && this.#around.now - idleSince > this.#keepAlive.ms
  }

  #latency(k: number, { idle, seed, parkedFork }: Count): number {
    if (k <= idle) return 0
    const { latencyMs } = this.#costs
    if (k <= idle + parkedFork) return latencyMs['fork-parked']
    return seed > 0 ? latencyMs.fork : this.#coldMs
  }

  #loss(count: Count): number {
    return this.#prospect.uses * this.#needs.reduce((sum, need, k) => sum + need * this.#latency(k + 1, count), 0)
  }

  #describeIdle(): RevisionDecision['idle'] {
    const { policy, history, instances, idleMiB } = this.#input
    const none = { count: 0, keepAliveMs: 0 }
    if (this.#strict) return { ...none, reason: 'the function is strict-cold' }
    if (!policy.reuse) return { ...none, reason: 'its instances are not used again' }
    if (policy.keepAliveMs !== undefined) {
      const reason = `the function fixes its keep-alive to ${duration(policy.keepAliveMs)}`
      return { count: this.#count.idle, keepAliveMs: policy.keepAliveMs, reason }
    }
    const { ms, hit } = this.#keepAlive
    const known = `${history.gapsMs.length} idle times seen`
    const saved = Math.round(this.#latency(1, { ...this.#count, idle: 0 }))
    const each = `an idle instance saves ${saved} ms and holds ${Math.round(idleMiB)} MiB`
    if (ms === 0) return { ...none, reason: `${known}; ${each}: not worth keeping` }
    const odds = `${known}; the next arrival is within ${duration(ms)} with odds of ${perCent(hit)}`
    if (this.#count.idle > 0 || instances === 0)
      return { count: this.#count.idle, keepAliveMs: ms, reason: `${odds}; ${each}` }
    const why = this.#overdue ? 'it is overdue' : 'others are worth more of the memory'
    return { ...none, reason: `${odds}; ${each}: ${why}` }
  }

  #describeSeed(): LevelDecision {
    const { seed: count } = this.#count
    const refused = this.#strict ? 'the function is strict-cold' : this.#input.forkRefused
    if (refused !== undefined) return { count, reason: refused }
    const { seeds } = this.#around.fixed
    if (seeds !== undefined) return { count, reason: `the ${seeds} called last have one, by configuration` }
    return { count, reason: this.#forkReason(count, this.#costs.latencyMs.fork, this.#worth.seed) }
  }

  #describeParked(): LevelDecision {
    const { parkedFork: count, seed } = this.#count
    if (seed === 0) return { count, reason: 'no seed' }
    const { parkedForks } = this.#around.fixed
    if (parkedForks !== undefined) return { count, reason: `${parkedForks} for each seed, by configuration` }
    return { count, reason: this.#forkReason(count, this.#costs.latencyMs['fork-parked'], this.#worth.parkedFork) }
  }

  #forkReason(count: number, latencyMs: number, worth: number): string {
    const odds = `a request within ${horizonMs / 1000} s has odds of ${perCent(this.#prospect.likely)}`
    const idle = this.#count.idle > 0 ? `, ${this.#count.idle} idle instances come first` : ''
    const verdict = count > 0 ? `worth ${worth.toPrecision(2)} ms per MiB and second` : 'not worth its memory'
    return `${odds}${idle}; it starts in ${Math.round(latencyMs)} instead of ${Math.round(this.#coldMs)} ms: ${verdict}`
  }
}
