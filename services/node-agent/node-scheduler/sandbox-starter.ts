/**
 * Makes one instance run: sandbox, code and restore side by side, then the code's mount, then the assignment that the instance
 * is waiting for. A restore that fails falls back, to a boot in the end; only the boot's failure is the start's. Steps that were done
 * ahead (prepared-sandboxes.ts, seeds.ts) are left out.
 */
import { statSync } from 'node:fs'
import type { Logger } from '../../chassis/log.ts'
import type { RuntimeName, VersionConfig } from '../../contracts/function.ts'
import type { StartInstance } from '../../contracts/node.ts'
import type { StartWish } from '../../contracts/placement.ts'
import type { VersionCheckpoints } from '../checkpoint/version-checkpoints.ts'
import type { VersionStore } from '../checkpoint/version-store.ts'
import type { CodeImages } from '../code-images/code-images.ts'
import type { NodeAgentConfig } from '../config.ts'
import type { NodeGateway } from '../instance.ts'
import type { LogPublisher } from '../logs/log-publisher.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import type { SandboxNetworks } from '../network/start-network.ts'
import type { RuntimeChecks } from '../runtime-checks.ts'
import { defaultTmpMiB, type CheckpointOf } from '../sandbox/bundle.ts'
import type { SandboxCheckpoint, SandboxHost } from '../sandbox/sandbox.ts'
import type { CachePlan } from './cache/cache-plan.ts'
import type { StartWay } from './cache/input.ts'
import { chooseStart, type ForkFacts, type StartChoice, type StartFacts } from './choose-start.ts'
import { createNodeCheckpoints } from './node-checkpoints.ts'
import { Stopwatch } from './phases.ts'
import { PreparedSandboxes, type PreparedKind } from './prepared-sandboxes.ts'
import { Quiet } from './quiet.ts'
import type { Revisions } from './revisions.ts'
import {
  assignmentOf,
  bareCheckpoint,
  endInstance,
  orEnd,
  SandboxMaker,
  type RunningInstance,
  type SandboxInstance,
  type Start,
} from './sandbox-maker.ts'
import { makeSeed } from './seed-maker.ts'
import { UnfitError } from './seed-faults.ts'
import { Seeds } from './seeds.ts'

export interface StarterDeps {
  readonly config: NodeAgentConfig
  readonly host: SandboxHost
  readonly gateway: NodeGateway
  readonly images: CodeImages
  readonly checks: RuntimeChecks
  readonly networks: SandboxNetworks
  readonly logger: Logger
  readonly logs: Pick<LogPublisher, 'add'>
  readonly revisions: Revisions
  readonly metrics: SchedulerMetrics
  readonly plan: CachePlan
}

export interface Started extends RunningInstance {
  readonly way: StartWay
}

export type StartCommand = Pick<StartInstance, 'startWish' | 'forInvocation' | 'provisioned'>

export class SandboxStarter {
  readonly #deps: StarterDeps
  readonly prepared: PreparedSandboxes
  readonly seeds: Seeds
  readonly checkpoints: VersionCheckpoints
  readonly store: VersionStore
  readonly #quiet = new Quiet()
  readonly #maker: SandboxMaker

  constructor(deps: StarterDeps) {
    this.#deps = deps
    const { plan, metrics } = deps
    this.#maker = new SandboxMaker(deps)
    this.prepared = new PreparedSandboxes({
      runtimes: plan.restorable,
      size: (kind, name) => plan.size(kind, name),
      make: (name, kind) => this.#prepare(name, kind),
      end: (instance) => endInstance(instance, 'not held any more'),
      onEvicted: (level) => metrics.evictions.inc({ level, reason: plan.cause }),
      logger: deps.logger,
    })
    this.seeds = new Seeds({
      config: deps.config,
      plan: (config) => plan.forksOf(config),
      planned: () => plan.seeded.length,
      make: (config) => makeSeed({ ...deps, maker: this.#maker, runDir: deps.host.runDir }, config),
      spent: ({ runtime }, level, cpuMs) => plan.costs.spent(runtime, level, cpuMs),
      isCurrent: (config) => deps.revisions.isCurrent(config),
      logger: deps.logger,
      metrics,
    })
    const made = createNodeCheckpoints({ ...deps, live: this.#maker.live, quiet: this.#quiet })
    this.checkpoints = made.checkpoints
    this.store = made.store
  }

  /** What a start of the revision would be chosen from now. */
  facts(wish: StartWish, config: VersionConfig): StartFacts {
    const { runtime, ephemeralStorageMiB, policy } = config
    const code = this.#deps.images.known(config.imageDigest)
    const known = {
      wish,
      hasCheckpoint: this.#deps.config.runtimes[runtime]?.checkpointPath !== undefined,
      ephemeralStorageMiB,
      // Files cost neither CPU nor memory: strict-cold has them too.
      version: this.checkpoints.facts(config),
      copiesCode: code !== undefined && statSync(code).size <= copiedCodeBytes,
    }
    if (this.#deps.plan.isStrictCold(policy)) {
      const fork = { parked: 0, hasSeed: false, refused: 'strict-cold' }
      return { ...known, prepared: { created: 0, parked: 0 }, fork }
    }
    const prepared = {
      created: this.prepared.count('created', runtime),
      parked: this.prepared.count('parked', runtime),
    }
    return { ...known, prepared, fork: this.#forkFacts(config) }
  }

  /**
   * Resolves when the instance has its assignment; whether its code initialises well is `endpoint.ready`'s to tell.
   * @throws when no way of starting worked. Nothing is left then.
   */
  async start(command: StartCommand, config: VersionConfig): Promise<Started> {
    const over = this.#quiet.begin()
    try {
      const running = await this.#start(command, config)
      running.endpoint.ready.then(over, over)
      return running
    } catch (error) {
      over()
      throw error
    }
  }

  async #start({ startWish: wish, forInvocation, provisioned }: StartCommand, config: VersionConfig): Promise<Started> {
    const watch = new Stopwatch()
    const runtime = await this.#maker.runtime(config.runtime)
    const start: Start = { watch, runtime, config, forInvocation, provisioned }
    this.seeds.replacedBy(config)
    if (wish === 'auto') this.#deps.plan.habits.uses(config)
    const facts = this.facts(wish, config)
    let choice = chooseStart(facts)
    if (choice.way === 'fork') {
      try {
        return { ...(await this.#fork(start, wish, choice.parked)), way: wayOf(choice) }
      } catch (error) {
        const refused = error instanceof Error ? error.message : String(error)
        // What the function left open is no failure, and was counted.
        if (!(error instanceof UnfitError)) this.#deps.metrics.forkFailures.inc()
        choice = chooseStart({ ...facts, fork: { parked: 0, hasSeed: false, refused } })
      }
    }
    if (wish.startsWith('fork'))
      this.#deps.logger.warn({ name: config.name, reason: choice.reason }, 'asked to fork, but cannot')
    if (choice.way === 'restore' && choice.checkpoint === 'version') {
      const restored = await this.#tryRestore(start, 'version', choice.use)
      if (restored) return { ...restored, way: wayOf(choice) }
      this.checkpoints.damaged(config)
      choice = chooseStart({ ...facts, version: { ready: false, initMs: 0, bytes: 0 } })
    }
    this.checkpoints.want(config)
    const restored = choice.way === 'restore' ? await this.#tryRestore(start, 'runtime', choice.use) : undefined
    return restored ? { ...restored, way: wayOf(choice) } : { ...(await this.#boot(start)), way: 'boot' }
  }

  /** Undefined when it failed: nothing of it is left then. */
  async #tryRestore(
    start: Start,
    of: CheckpointOf,
    use: PreparedKind | undefined,
  ): Promise<RunningInstance | undefined> {
    const { runtime } = start.config
    try {
      const restored =
        of === 'version'
          ? await this.checkpoints.use(start.config, (directory) => this.#restoreVersion(start, use, directory))
          : await this.#restore(start, use)
      this.#deps.metrics.restores.inc({ checkpoint: of })
      return restored
    } catch (error) {
      this.#deps.metrics.restoreFailures.inc({ runtime, checkpoint: of })
      this.#deps.logger.warn({ err: error, runtime, checkpoint: of }, 'restore failed, starting in another way')
      return undefined
    }
  }

  /** Makes ahead what is planned. Costs CPU: not while a start has the caller waiting. */
  fill(): void {
    for (const config of this.#deps.plan.seeded) if (!this.facts('auto', config).fork.hasSeed) this.seeds.want(config)
    this.#maker.slots.fill()
    this.seeds.fill()
    this.prepared.fill()
    this.checkpoints.fill()
  }

  /** Resolves when no start is under way. @throws the signal's reason when it is aborted first. */
  quiet(signal: AbortSignal): Promise<void> {
    return this.#quiet.reached(signal)
  }

  /** Ids of the places that wait for a sandbox. */
  get slotIds(): string[] {
    return this.#maker.slots.ids
  }

  /** Ids of all sandboxes that are somebody's. */
  liveIds(): ReadonlySet<string> {
    return this.#maker.live
  }

  async close(): Promise<void> {
    await Promise.all([this.prepared.close(), this.seeds.close(), this.checkpoints.close(), this.#maker.slots.close()])
  }

  #forkFacts(config: VersionConfig): ForkFacts {
    if (config.policy.fork !== false) return this.seeds.facts(config)
    return { parked: 0, hasSeed: false, refused: 'the function does not allow forks' }
  }

  async #prepare(name: RuntimeName, kind: PreparedKind): Promise<SandboxInstance> {
    const runtime = await this.#maker.runtime(name)
    // What is restored into one that is only created, and so what its code is, is known when it is taken.
    const instance = await this.#maker.create(runtime, defaultTmpMiB, {
      ...bareCheckpoint(runtime),
      copyCode: kind === 'created',
    })
    if (kind === 'parked') await orEnd(instance, () => this.#maker.restore(instance, runtime))
    this.#deps.plan.costs.spent(name, kind, instance.sandbox.cpuMs())
    return instance
  }

  async #restore(start: Start, use: PreparedKind | undefined): Promise<RunningInstance> {
    const { watch, runtime, config } = start
    const code = this.#maker.code(start)
    const instance = await this.#sandboxFor(start, use, bareCheckpoint(runtime))
    return orEnd(instance, async () => {
      this.#maker.limit(instance, config)
      if (use !== 'parked') await watch.time('restore', () => this.#maker.restore(instance, runtime))
      return this.#assign(start, instance, code, 'restore')
    })
  }

  /** The function is initialised in it, and its code mounted. */
  async #restoreVersion(start: Start, use: PreparedKind | undefined, directory: string): Promise<RunningInstance> {
    const { watch, config } = start
    const code = await this.#maker.code(start)
    const instance = await this.#sandboxFor(start, use, { of: 'version', code })
    return orEnd(instance, async () => {
      const { sandbox, endpoint } = instance
      this.#maker.limit(instance, config)
      if (use) await watch.time('mount', () => sandbox.giveCode(code))
      await watch.time('restore-version', () => sandbox.restore(directory))
      await this.#maker.connect(instance, start)
      const input = assignmentOf(start, 'restore', () => sandbox.peakMemoryMiB())
      endpoint.assign({ ...input, checkpoint: 'version' })
      return instance
    })
  }

  /** One that waits, or one made now. */
  async #sandboxFor(
    start: Start,
    use: PreparedKind | undefined,
    checkpoint: SandboxCheckpoint,
  ): Promise<SandboxInstance> {
    const { watch, runtime, config } = start
    const ready = use && this.prepared.take(use, config.runtime)
    const instance = await watch.time(
      'sandbox',
      () => ready ?? this.#maker.create(runtime, config.ephemeralStorageMiB, checkpoint),
    )
    this.#maker.expect(instance, start)
    return instance
  }

  async #boot(start: Start): Promise<RunningInstance> {
    const { watch, runtime, config } = start
    const code = this.#maker.code(start)
    const instance = await watch.time('sandbox', () =>
      this.#maker.create(runtime, config.ephemeralStorageMiB, undefined),
    )
    this.#maker.expect(instance, start)
    return orEnd(instance, async () => {
      this.#maker.limit(instance, config)
      await watch.time('boot', () => instance.sandbox.boot())
      return this.#assign(start, instance, code, 'boot')
    })
  }

  async #fork(start: Start, wish: StartWish, parked: boolean): Promise<RunningInstance> {
    const { watch, config } = start
    const fork =
      (parked ? await this.seeds.takeParked(config) : undefined) ??
      (await watch.time('fork', () => this.seeds.fork(config)))
    if (wish === 'fork-parked') this.seeds.askParked(config)
    fork.endpoint.assign(assignmentOf(start, 'fork', () => fork.peakMemoryMiB()))
    return fork
  }

  async #assign(
    start: Start,
    instance: SandboxInstance,
    code: Promise<string>,
    startType: 'restore' | 'boot',
  ): Promise<RunningInstance> {
    const { sandbox, endpoint } = instance
    const image = await code
    await Promise.all([start.watch.time('mount', () => sandbox.mountCode(image)), this.#maker.connect(instance, start)])
    endpoint.assign(assignmentOf(start, startType, () => sandbox.peakMemoryMiB()))
    return instance
  }
}

const wayOf = (choice: StartChoice): StartWay => {
  if (choice.way === 'fork') return choice.parked ? 'fork-parked' : 'fork'
  if (choice.way === 'boot' || choice.use === undefined) return choice.way
  return choice.use === 'parked' ? 'restore-parked' : 'restore-precreated'
}

/** A copy takes memory as long as its sandbox lives. */
const copiedCodeBytes = 4 * 1024 * 1024
