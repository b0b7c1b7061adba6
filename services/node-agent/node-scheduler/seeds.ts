/**
 * The seeds of this node, one per revision, and the forks that wait at their sockets. Made for functions that were started lately, in
 * the background, or at once for whoever asks for a fork; ended when they are not used, replaced, worn out, or in the way.
 */
import type { Logger } from '../../chassis/log.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import { revisionKey } from '../../contracts/placement.ts'
import type { NodeAgentConfig } from '../config.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import { seedWays } from '../runtime-files.ts'
import type { ForkFacts } from './choose-start.ts'
import { ParkedForks } from './parked-forks.ts'
import { SeedFaults, UnfitError } from './seed-faults.ts'
import { renewalReason, type Fork, type Seed } from './seed.ts'

export interface SeedsDeps {
  readonly config: Pick<NodeAgentConfig, 'renewSeedAfterForks' | 'seedIdleMs'>
  /** What is worth holding for the revision. */
  readonly plan: (config: VersionConfig) => { readonly seed: boolean; readonly parked: number }
  /** Seeds that the plan holds, of all revisions. */
  readonly planned: () => number
  /** @throws UnfitError; or what went wrong. Nothing is left then. */
  readonly make: (config: VersionConfig) => Promise<Seed>
  /** CPU time that one of the level took to make, milliseconds. */
  readonly spent: (config: VersionConfig, level: 'seed' | 'parkedFork', cpuMs: number) => void
  /** False: the registry has a newer revision, or none any more. */
  readonly isCurrent: (config: VersionConfig) => Promise<boolean>
  readonly logger: Logger
  readonly metrics: Pick<SchedulerMetrics, 'seeds' | 'parkedForks' | 'seedEnds' | 'unfit' | 'evictions'>
}

/** Seeds of functions that were asked to be forked, beside those of the plan. */
const askedSeeds = 4

interface Entry {
  readonly config: VersionConfig
  making: Promise<Seed>
  seed?: Seed
  readonly parked: ParkedForks
  /** Somebody asked for parked forks, where the plan has none. */
  asked: boolean
  /** The plan wanted it at some time. */
  planned: boolean
  renewing: boolean
}

export interface SeedReport {
  readonly seedId: string
  readonly revision: string
  readonly forks: number
  readonly children: number
  readonly serving: number
  readonly memoryMiB: number
  readonly retired: string | undefined
}

export class Seeds {
  readonly #deps: SeedsDeps
  readonly #entries = new Map<string, Entry>()
  /** Every seed whose sandbox runs, retired ones too. */
  readonly #alive = new Set<Seed>()
  readonly #faults = new SeedFaults()
  /** Revisions for which a seed is to be made when there is time. */
  readonly #wanted = new Map<string, VersionConfig>()
  readonly #makings = new Set<Promise<Seed>>()
  #closed = false

  constructor(deps: SeedsDeps) {
    this.#deps = deps
  }

  facts(config: VersionConfig): ForkFacts {
    const key = revisionKey(config)
    const entry = this.#entries.get(key)
    const unfit = this.#faults.unfit(key)
    const way = seedWays[config.runtime]
    const refused =
      'refused' in way
        ? way.refused
        : unfit !== undefined
          ? `its initialisation leaves open: ${unfit}`
          : entry?.seed?.isFull
            ? `its seed has ${entry.seed.children} forks`
            : this.#closed
              ? 'the node is draining'
              : undefined
    return {
      parked: entry?.parked.size ?? 0,
      hasSeed: entry?.seed !== undefined && entry.seed.retired === undefined,
      ...(refused === undefined ? {} : { refused }),
    }
  }

  /** A fork that waits; the caller owns it. */
  async takeParked(config: VersionConfig): Promise<Fork | undefined> {
    return this.#entries.get(revisionKey(config))?.parked.take()
  }

  /** A fork made now, of a seed made now if there is none. @throws when there can be none. */
  async fork(config: VersionConfig): Promise<Fork> {
    const seed = await this.#obtain(config)
    const fork = await seed.fork(false)
    seed.taken(fork)
    this.#renewIfWorn(seed)
    return fork
  }

  /** Its next instances are to be forks. */
  want(config: VersionConfig): void {
    const entry = this.#entries.get(revisionKey(config))
    if (entry) entry.planned = true
    else if (this.facts(config).refused === undefined) this.#wanted.set(revisionKey(config), config)
  }

  /** Parked forks of this function are wanted as long as it has a seed. */
  askParked(config: VersionConfig): void {
    const entry = this.#entries.get(revisionKey(config))
    if (entry) entry.asked = true
  }

  /** Makes what is missing. Costs CPU: not while a start has a caller waiting. */
  fill(): void {
    if (this.#closed) return
    for (const [key, config] of this.#wanted) {
      this.#wanted.delete(key)
      if (this.#faults.failedLately(key)) continue
      this.#obtain(config).then(
        () => this.fill(),
        () => undefined,
      )
    }
    for (const entry of this.#entries.values()) this.#fillParked(entry)
  }

  /** Ends seeds of earlier revisions of the same version: they were replaced. */
  replacedBy(config: VersionConfig): void {
    for (const entry of this.#entries.values()) {
      const { tenant, name, version, revisionId } = entry.config
      if (tenant === config.tenant && name === config.name && version === config.version)
        if (revisionId !== config.revisionId) this.#retire(entry, 'replaced')
    }
  }

  /** Ends what is not used, or was replaced meanwhile. */
  async sweep(): Promise<void> {
    for (const entry of this.#entries.values()) {
      const { seed } = entry
      if (!seed || this.#closed) continue
      const keptMs = entry.planned ? 0 : this.#deps.config.seedIdleMs
      const idle = seed.serving === 0 && performance.now() - seed.lastUsedAt > keptMs
      if (idle && !this.#deps.plan(entry.config).seed) this.#evict(entry, 'idle')
      else if (!(await this.#deps.isCurrent(entry.config).catch(() => true))) this.#retire(entry, 'replaced')
      else {
        void entry.parked.keep(this.#parkedWanted(entry), 'idle')
        this.#renewIfWorn(seed)
      }
    }
  }

  /** Ends what is more than planned, seeds that somebody asked for included. Resolves when nothing of it is left. */
  async shed(): Promise<void> {
    const ends: Promise<unknown>[] = []
    for (const entry of this.#entries.values()) {
      const { seed, parked, config } = entry
      const plan = this.#deps.plan(config)
      if (!seed) continue
      if (!plan.seed && seed.serving === 0) {
        this.#evict(entry, 'memory')
        ends.push(seed.exited)
      } else ends.push(parked.keep(plan.parked, 'memory'))
    }
    await Promise.all(ends)
  }

  /** Seeds whose sandboxes run, retired ones included. */
  alive(): Iterable<Seed> {
    return this.#alive
  }

  reports(): SeedReport[] {
    return [...this.#alive].map((seed) => {
      const { id: seedId, config, forks, children, serving, retired } = seed
      const { memoryMiB } = seed.state
      return { seedId, revision: revisionKey(config), forks, children, serving, memoryMiB, retired }
    })
  }

  /** Ends all of them, with what is left of their children. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#makings)
    await Promise.all([...this.#alive].map((seed) => seed.end({ reason: 'killed', detail: 'shutdown' })))
  }

  async #obtain(config: VersionConfig): Promise<Seed> {
    const key = revisionKey(config)
    const known = this.#entries.get(key)
    if (known) return known.making
    this.#makeRoom()
    const entry: Entry = {
      config,
      making: this.#make(key, config),
      parked: this.#noneParked(),
      asked: false,
      planned: this.#deps.plan(config).seed,
      renewing: false,
    }
    this.#entries.set(key, entry)
    try {
      return await this.#enter(key, entry)
    } catch (error) {
      if (this.#entries.get(key) === entry) this.#entries.delete(key)
      throw error
    }
  }

  async #enter(key: string, entry: Entry): Promise<Seed> {
    const seed = await entry.making
    entry.seed = seed
    void seed.exited.then(() => this.#entries.get(key) === entry && this.#entries.delete(key))
    return seed
  }

  async #followEnd(key: string, seed: Seed): Promise<void> {
    const { detail, reason: found } = await seed.exited
    this.#alive.delete(seed)
    this.#count()
    const reason = seed.retired ?? found
    this.#deps.metrics.seedEnds.inc({ reason })
    this.#deps.logger.info({ seedId: seed.id, revision: key, reason, detail }, 'seed ended')
  }

  #make(key: string, config: VersionConfig): Promise<Seed> {
    const making = this.#makeNow(key, config)
    this.#makings.add(making)
    const settled = () => void this.#makings.delete(making)
    making.then(settled, settled)
    return making
  }

  async #makeNow(key: string, config: VersionConfig): Promise<Seed> {
    try {
      const seed = await this.#deps.make(config)
      this.#alive.add(seed)
      this.#deps.spent(config, 'seed', seed.cpuMs())
      this.#count()
      void this.#followEnd(key, seed)
      return seed
    } catch (error) {
      this.#faults.note(key, error)
      if (error instanceof UnfitError) {
        this.#deps.metrics.unfit.inc({ reason: error.message.split(' (')[0] ?? '' })
        this.#deps.logger.warn({ revision: key, reason: error.message }, 'this revision cannot be forked')
      } else this.#deps.logger.warn({ err: error, revision: key }, 'a seed could not be made')
      throw error
    }
  }

  /** @throws when every seed is in use. */
  #makeRoom(): void {
    const limit = this.#deps.planned() + askedSeeds
    if (this.#entries.size < limit) return
    const [oldest] = [...this.#entries.values()]
      .filter(({ seed }) => seed?.serving === 0)
      .sort((a, b) => (a.seed?.lastUsedAt ?? 0) - (b.seed?.lastUsedAt ?? 0))
    if (!oldest) throw new Error(`all ${limit} seeds of the node are in use`)
    this.#retire(oldest, 'room')
  }

  #evict(entry: Entry, reason: string): void {
    this.#deps.metrics.evictions.inc({ level: 'seed', reason })
    this.#retire(entry, reason)
  }

  #noneParked(): ParkedForks {
    return new ParkedForks({ ...this.#deps, onChange: () => this.#count() })
  }

  #parkedWanted({ config, asked }: Entry): number {
    return Math.max(this.#deps.plan(config).parked, asked ? 1 : 0)
  }

  #retire(entry: Entry, reason: string): void {
    const key = revisionKey(entry.config)
    if (this.#entries.get(key) === entry) this.#entries.delete(key)
    entry.parked.clear()
    entry.making.then(
      (seed) => seed.retire(reason),
      () => undefined,
    )
    this.#count()
  }

  /** The old one serves until the new one is there. */
  #renewIfWorn(seed: Seed): void {
    const key = revisionKey(seed.config)
    const entry = this.#entries.get(key)
    if (!entry || entry.seed !== seed || entry.renewing || this.#closed) return
    const reason = renewalReason(seed.state, seed.config.memoryMiB, this.#deps.config.renewSeedAfterForks)
    if (reason === undefined) return
    entry.renewing = true
    this.#renew(key, entry, seed, reason).catch(() => void (entry.renewing = false))
  }

  async #renew(key: string, entry: Entry, seed: Seed, reason: string): Promise<void> {
    const made = await this.#make(key, seed.config)
    const parked = this.#noneParked()
    const renewed = { ...entry, making: Promise.resolve(made), seed: made, parked, renewing: false }
    this.#fillParked(renewed)
    await parked.settled()
    if (this.#entries.get(key) !== entry) return made.retire('replaced')
    this.#entries.set(key, renewed)
    await this.#enter(key, renewed)
    entry.parked.clear()
    seed.retire(`renewed: ${reason}`)
    this.#count()
  }

  #fillParked(entry: Entry): void {
    const { seed, parked } = entry
    if (!seed) return
    parked.fill(seed, this.#parkedWanted(entry))
    if (this.#entries.get(revisionKey(entry.config)) === entry) this.#renewIfWorn(seed)
  }

  #count(): void {
    this.#deps.metrics.seeds.set([...this.#alive].filter(({ retired }) => retired === undefined).length)
    this.#deps.metrics.parkedForks.set([...this.#entries.values()].reduce((sum, { parked }) => sum + parked.size, 0))
  }
}
