/**
 * Makes one instance run: sandbox, code and restore side by side, then the code's mount, then the assignment that the instance
 * is waiting for. A restore that fails falls back to a boot; only the boot's failure is the start's. Steps that were done ahead
 * (prepared-sandboxes.ts) are left out.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { RuntimeName, VersionConfig } from '../../contracts/function.ts'
import type { ForkLimits } from '../../contracts/runtime-api.ts'
import type { StartInstance } from '../../contracts/node.ts'
import type { StartType, StartWish } from '../../contracts/placement.ts'
import { emptyCodeName } from '../checkpoint/manifest.ts'
import type { VersionCheckpoints } from '../checkpoint/version-checkpoints.ts'
import type { VersionStore } from '../checkpoint/version-store.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../config.ts'
import type { AssignmentInput, InstanceBody, InstanceEndpoint, NodeGateway } from '../instance.ts'
import type { LogPublisher } from '../logs/log-publisher.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import type { RuntimeChecks } from '../runtime-checks.ts'
import { seedCommand, seedWays, type SeedWay } from '../runtime-files.ts'
import { defaultTmpMiB, type CheckpointOf } from '../sandbox/bundle.ts'
import type { Limits } from '../sandbox/cgroup.ts'
import { Sandbox, socketDir, type SandboxCheckpoint, type SandboxHost } from '../sandbox/sandbox.ts'
import type { CachePlan } from './cache/cache-plan.ts'
import type { StartWay } from './cache/input.ts'
import { chooseStart, type ForkFacts, type StartChoice, type StartFacts } from './choose-start.ts'
import type { CodeImages } from './code-images.ts'
import { ForkChannel } from './fork-channel.ts'
import { forkProcesses, instanceLimits, seedLimits, startLimits } from './limits.ts'
import { createNodeCheckpoints } from './node-checkpoints.ts'
import { Stopwatch } from './phases.ts'
import { PreparedSandboxes, type PreparedKind } from './prepared-sandboxes.ts'
import { Quiet } from './quiet.ts'
import type { Revisions } from './revisions.ts'
import { Seed } from './seed.ts'
import { Seeds, UnfitError } from './seeds.ts'

export interface StarterDeps {
  readonly config: NodeAgentConfig
  readonly host: SandboxHost
  readonly gateway: NodeGateway
  readonly images: CodeImages
  readonly checks: RuntimeChecks
  readonly logger: Logger
  readonly logs: Pick<LogPublisher, 'add'>
  readonly revisions: Revisions
  readonly metrics: SchedulerMetrics
  readonly plan: CachePlan
}

/** A sandbox and the node gateway's end of it; they live and die together. */
export interface RunningInstance {
  /** A sandbox of its own, or one process of a seed's. */
  readonly sandbox: InstanceBody
  readonly endpoint: InstanceEndpoint
}

/** An instance that has its sandbox for itself. */
export interface SandboxInstance extends RunningInstance {
  readonly sandbox: Sandbox
}

export interface Started extends RunningInstance {
  readonly way: StartWay
}

export type StartCommand = Pick<StartInstance, 'startWish' | 'forInvocation'>

/** One start, from command to assignment. */
interface Start {
  readonly watch: Stopwatch
  readonly runtime: RuntimeFiles
  readonly config: VersionConfig
  readonly forInvocation: string | undefined
}

export class SandboxStarter {
  readonly #deps: StarterDeps
  readonly prepared: PreparedSandboxes
  readonly seeds: Seeds
  readonly checkpoints: VersionCheckpoints
  readonly store: VersionStore
  readonly #quiet = new Quiet()
  readonly #live = new Set<string>()

  constructor(deps: StarterDeps) {
    this.#deps = deps
    const { plan, metrics } = deps
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
      make: (config) => this.#makeSeed(config),
      isCurrent: (config) => deps.revisions.isCurrent(config),
      logger: deps.logger,
      metrics,
    })
    const made = createNodeCheckpoints({ ...deps, live: this.#live, quiet: this.#quiet })
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

  async #start({ startWish: wish, forInvocation }: StartCommand, config: VersionConfig): Promise<Started> {
    const watch = new Stopwatch()
    const runtime = await this.#runtime(config.runtime)
    const start: Start = { watch, runtime, config, forInvocation }
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
    this.seeds.fill()
    this.prepared.fill()
    this.checkpoints.fill()
  }

  /** Ids of all sandboxes from before their creation until nothing of them is left: whatever else is found is a leftover. */
  liveIds(): ReadonlySet<string> {
    return this.#live
  }

  async close(): Promise<void> {
    await Promise.all([this.prepared.close(), this.seeds.close(), this.checkpoints.close()])
  }

  #forkFacts(config: VersionConfig): ForkFacts {
    if (config.policy.fork !== false) return this.seeds.facts(config)
    return { parked: 0, hasSeed: false, refused: 'the function does not allow forks' }
  }

  /** @throws PlatformError NO_CAPACITY when the node does not have it, or has it damaged. */
  async #runtime(name: RuntimeName): Promise<RuntimeFiles> {
    const runtime = this.#deps.config.runtimes[name]
    if (!runtime) throw new PlatformError('NO_CAPACITY', `this node has no runtime ${name}`)
    await this.#deps.checks.image(name, runtime)
    return runtime
  }

  async #create(
    runtime: RuntimeFiles,
    tmpMiB: number,
    checkpoint: SandboxCheckpoint | undefined,
    seed?: { readonly id: string; readonly environment: readonly string[] },
  ): Promise<SandboxInstance> {
    const { host, gateway } = this.#deps
    const id = seed?.id ?? randomBytes(8).toString('hex')
    this.#live.add(id)
    mkdirSync(socketDir(host.runDir, id), { recursive: true })
    const endpoint = await gateway.openEndpoint(id, `${socketDir(host.runDir, id)}/api.sock`)
    try {
      // Until the function is known.
      const limits = startLimits(this.#limitsOf({ memoryMiB: 256 }))
      const environment = seed?.environment ?? []
      const sandbox = await Sandbox.create(host, { id, runtime, limits, tmpMiB, checkpoint, environment })
      endpoint.attachLogs(sandbox.stdout, sandbox.stderr)
      void sandbox.exited.then((exit) => endpoint.close(exit))
      void sandbox.removed.then(() => this.#live.delete(id))
      return { sandbox, endpoint }
    } catch (error) {
      this.#live.delete(id)
      await endpoint.close({ reason: 'killed', detail: 'the sandbox could not be created' })
      throw error
    }
  }

  async #prepare(name: RuntimeName, kind: PreparedKind): Promise<SandboxInstance> {
    const runtime = await this.#runtime(name)
    // What is restored into one that is only created, and so what its code is, is known when it is taken.
    const instance = await this.#create(runtime, defaultTmpMiB, { ...bare(runtime), copyCode: kind === 'created' })
    if (kind === 'parked') await orEnd(instance, () => this.#restoreInto(instance, runtime))
    return instance
  }

  async #restore(start: Start, use: PreparedKind | undefined): Promise<RunningInstance> {
    const { watch, runtime, config } = start
    const code = this.#code(start)
    const instance = await this.#sandboxFor(start, use, bare(runtime))
    return orEnd(instance, async () => {
      this.#limit(instance, config)
      if (use !== 'parked') await watch.time('restore', () => this.#restoreInto(instance, runtime))
      return this.#assign(start, instance, code, 'restore')
    })
  }

  async #restoreInto({ sandbox }: SandboxInstance, runtime: RuntimeFiles): Promise<void> {
    await sandbox.restore(await this.#deps.checks.checkpoint(runtime))
  }

  /** The function is initialised in it, and its code mounted. */
  async #restoreVersion(start: Start, use: PreparedKind | undefined, directory: string): Promise<RunningInstance> {
    const { watch, config } = start
    const code = await this.#code(start)
    const instance = await this.#sandboxFor(start, use, { of: 'version', code })
    return orEnd(instance, async () => {
      const { sandbox, endpoint } = instance
      this.#limit(instance, config)
      if (use) await watch.time('mount', () => sandbox.giveCode(code))
      await watch.time('restore-version', () => sandbox.restore(directory))
      const input = this.#assignment(start, 'restore', () => sandbox.peakMemoryMiB())
      endpoint.assign({ ...input, checkpoint: 'version' })
      return instance
    })
  }

  /** One that waits, or one made now. */
  #sandboxFor(
    { watch, runtime, config }: Start,
    use: PreparedKind | undefined,
    checkpoint: SandboxCheckpoint,
  ): Promise<SandboxInstance> {
    const ready = use && this.prepared.take(use, config.runtime)
    return watch.time('sandbox', () => ready ?? this.#create(runtime, config.ephemeralStorageMiB, checkpoint))
  }

  async #boot(start: Start): Promise<RunningInstance> {
    const { watch, runtime, config } = start
    const code = this.#code(start)
    const instance = await watch.time('sandbox', () => this.#create(runtime, config.ephemeralStorageMiB, undefined))
    return orEnd(instance, async () => {
      this.#limit(instance, config)
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
    fork.endpoint.assign(this.#assignment(start, 'fork', () => fork.peakMemoryMiB()))
    return fork
  }

  /** A seed is restored where that is as good as a boot; one that cannot be is booted. */
  async #makeSeed(config: VersionConfig): Promise<Seed> {
    const way = seedWays[config.runtime]
    if ('refused' in way) throw new UnfitError(way.refused)
    const { checkpointPath } = await this.#runtime(config.runtime)
    // As for every instance, the size of /tmp is part of what was checkpointed.
    if (way.restorable && checkpointPath !== undefined && config.ephemeralStorageMiB === defaultTmpMiB) {
      try {
        return await this.#startSeed(config, way, true)
      } catch (error) {
        if (!(error instanceof SeedRestoreError)) throw error
        this.#deps.metrics.restoreFailures.inc({ runtime: config.runtime, checkpoint: 'runtime' })
        this.#deps.logger.warn(
          { err: error.cause, runtime: config.runtime },
          'restore of a seed failed, booting instead',
        )
      }
    }
    return this.#startSeed(config, way, false)
  }

  /**
   * A sandbox in which the function is loaded, and nothing served.
   * @throws UnfitError when it cannot be forked; SeedRestoreError when the checkpoint is the problem. Nothing is left then.
   */
  async #startSeed(config: VersionConfig, way: SeedWay, restored: boolean): Promise<Seed> {
    const { host, gateway } = this.#deps
    const files = await this.#runtime(config.runtime)
    const runtime = { ...files, command: seedCommand(files.command, way) }
    const start: Start = { watch: new Stopwatch(), runtime, config, forInvocation: undefined }
    const code = this.#code(start)
    const id = randomBytes(8).toString('hex')
    const directory = socketDir(host.runDir, id)
    mkdirSync(directory, { recursive: true })
    let made: Seed | undefined
    const channel = await ForkChannel.open(`${directory}/seed.sock`, {
      message: (message) => made?.hear(message),
      lost: (problem) => void made?.end({ reason: 'exit', detail: problem }),
    })
    try {
      const seed = { id, environment: way.environment }
      const checkpoint = restored ? bare(files) : undefined
      const instance = await this.#create(runtime, config.ephemeralStorageMiB, checkpoint, seed)
      const { sandbox, endpoint } = instance
      return await orEnd(instance, async () => {
        sandbox.setLimits(startLimits(this.#limitsOf(config)))
        if (restored) await this.#restoreInto(instance, files).catch(asSeedRestoreError)
        else await sandbox.boot()
        await sandbox.mountCode(await code)
        const { sandboxOverheadMiB, pids } = this.#deps.config.limits
        const { memoryMiB, ephemeralStorageMiB: tmpMiB } = config
        const forkLimits: ForkLimits = { memoryMiB, processes: forkProcesses(memoryMiB, pids), tmpMiB }
        const startType = restored ? 'restore' : 'boot'
        const assignment = this.#assignment(start, startType, () => sandbox.peakMemoryMiB())
        endpoint.assign({ ...assignment, seed: forkLimits })
        const hello = await Promise.race([channel.hello, failure(instance)])
        endpoint.initialised()
        if ('unfit' in hello) throw new UnfitError(hello.unfit)
        const limits = (forks: number, starting: boolean): Limits => {
          const made = seedLimits(memoryMiB, sandboxOverheadMiB, pids, forks)
          return starting ? startLimits(made) : made
        }
        const maxForks = this.#deps.config.forksPerSeed
        made = new Seed({ sandbox, endpoint, channel, config, gateway, directory, maxForks, limits, forkLimits })
        return made
      })
    } catch (error) {
      channel.close()
      throw error
    }
  }

  /** On its way while the sandbox is made. */
  #code({ watch, config }: Start): Promise<string> {
    const code = watch.time('code', () => this.#deps.images.path(config.imageDigest))
    // A failed fetch is noticed when the code is mounted; until then it must not count as unhandled.
    code.catch(() => undefined)
    return code
  }

  #limitsOf({ memoryMiB }: Pick<VersionConfig, 'memoryMiB'>): Limits {
    const { sandboxOverheadMiB, pids } = this.#deps.config.limits
    return instanceLimits(memoryMiB, sandboxOverheadMiB, pids)
  }

  /** The function's memory from now on, its CPUs once it has started. */
  #limit({ sandbox, endpoint }: SandboxInstance, config: VersionConfig): void {
    const limits = this.#limitsOf(config)
    sandbox.setLimits(startLimits(limits))
    endpoint.ready.then(
      () => sandbox.setLimits(limits),
      () => undefined,
    )
  }

  #assignment(
    { watch, config, forInvocation }: Start,
    startType: StartType,
    peakMemoryMiB: () => number,
  ): AssignmentInput {
    return { config, startType, forInvocation, phases: watch.phases, startedAt: watch.startedAt, peakMemoryMiB }
  }

  async #assign(
    start: Start,
    instance: SandboxInstance,
    code: Promise<string>,
    startType: 'restore' | 'boot',
  ): Promise<RunningInstance> {
    const { sandbox, endpoint } = instance
    const image = await code
    await start.watch.time('mount', () => sandbox.mountCode(image))
    endpoint.assign(this.#assignment(start, startType, () => sandbox.peakMemoryMiB()))
    return instance
  }
}

/** The checkpoint could not be restored; a boot may go well. */
class SeedRestoreError extends Error {
  override readonly name = 'SeedRestoreError'
}

const asSeedRestoreError = (cause: unknown): never => {
  throw new SeedRestoreError('a seed could not be restored', { cause })
}

const wayOf = (choice: StartChoice): StartWay => {
  if (choice.way === 'fork') return choice.parked ? 'fork-parked' : 'fork'
  if (choice.way === 'boot' || choice.use === undefined) return choice.way
  return choice.use === 'parked' ? 'restore-parked' : 'restore-precreated'
}

const bare = (runtime: RuntimeFiles): SandboxCheckpoint => ({
  of: 'runtime',
  code: join(runtime.checkpointPath ?? '', emptyCodeName),
})

/** A copy takes memory as long as its sandbox lives. */
const copiedCodeBytes = 4 * 1024 * 1024

/** Rejects when the function cannot be initialised, or its sandbox ends. */
const failure = async ({ sandbox, endpoint }: SandboxInstance): Promise<never> => {
  await Promise.race([endpoint.ready, sandbox.exited])
  await endpoint.ready
  throw new PlatformError('START_FAILED', 'the seed ended')
}

/** What could not be finished is not left half done. */
const orEnd = async <T>(instance: RunningInstance, work: () => Promise<T>): Promise<T> => {
  try {
    return await work()
  } catch (error) {
    await endInstance(instance, 'the start failed')
    throw error
  }
}

export const endInstance = async ({ sandbox, endpoint }: RunningInstance, detail: string): Promise<void> => {
  const exit = await sandbox.end({ reason: 'killed', detail })
  await endpoint.close(exit)
}
