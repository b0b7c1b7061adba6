/**
 * Makes one instance run: sandbox, code and restore side by side, then the code's mount, then the assignment that the instance
 * is waiting for. A restore that fails falls back to a boot; only the boot's failure is the start's. Steps that were done ahead
 * (prepared-sandboxes.ts) are left out.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import type { Counter } from 'prom-client'
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { runtimeNames, type RuntimeName, type VersionConfig } from '../../contracts/function.ts'
import type { StartInstance } from '../../contracts/node.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../config.ts'
import type { InstanceEndpoint, NodeGateway } from '../instance.ts'
import { defaultTmpMiB } from '../sandbox/bundle.ts'
import type { Limits } from '../sandbox/cgroup.ts'
import { Sandbox, socketDir, type SandboxHost } from '../sandbox/sandbox.ts'
import { chooseStart } from './choose-start.ts'
import type { CodeImages } from './code-images.ts'
import { instanceLimits, startLimits } from './limits.ts'
import { Stopwatch } from './phases.ts'
import { PreparedSandboxes, type PreparedKind } from './prepared-sandboxes.ts'

export interface StarterDeps {
  readonly config: NodeAgentConfig
  readonly host: SandboxHost
  readonly gateway: NodeGateway
  readonly images: CodeImages
  readonly logger: Logger
  readonly restoreFailures: Counter
}

/** A sandbox and the node gateway's end of it; they live and die together. */
export interface RunningInstance {
  readonly sandbox: Sandbox
  readonly endpoint: InstanceEndpoint
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
  readonly #prepared: PreparedSandboxes
  readonly #live = new Set<string>()

  constructor(deps: StarterDeps) {
    this.#deps = deps
    const { runtimes, precreatedSandboxes, parkedRestores } = deps.config
    this.#prepared = new PreparedSandboxes({
      runtimes: runtimeNames.filter((name) => runtimes[name]?.checkpointPath !== undefined),
      sizes: { created: precreatedSandboxes, parked: parkedRestores },
      make: (name, kind) => this.#prepare(name, kind),
      end: (instance) => endInstance(instance, 'shutdown'),
      logger: deps.logger,
    })
  }

  /**
   * Resolves when the instance has its assignment; whether its code initialises well is `endpoint.ready`'s to tell.
   * @throws when no way of starting worked. Nothing is left then.
   */
  async start({ startWish: wish, forInvocation }: StartCommand, config: VersionConfig): Promise<RunningInstance> {
    const watch = new Stopwatch()
    const runtime = this.#runtime(config.runtime)
    const { runtime: name, ephemeralStorageMiB } = config
    const prepared = { created: this.#prepared.count('created', name), parked: this.#prepared.count('parked', name) }
    const hasCheckpoint = runtime.checkpointPath !== undefined
    const { way, use } = chooseStart({ wish, hasCheckpoint, prepared, ephemeralStorageMiB })
    if (way === 'restore') {
      try {
        return await this.#restore({ watch, runtime, config, forInvocation }, use)
      } catch (error) {
        this.#deps.restoreFailures.inc({ runtime: name })
        this.#deps.logger.warn({ err: error, runtime: name }, 'restore failed, booting instead')
      }
    }
    return this.#boot({ watch, runtime, config, forInvocation })
  }

  /** Makes sandboxes ahead, up to the configured numbers. Costs CPU: not while a start has the caller waiting. */
  fill(): void {
    this.#prepared.fill()
  }

  /** Ids of all sandboxes from before their creation until nothing of them is left: whatever else is found is a leftover. */
  liveIds(): ReadonlySet<string> {
    return this.#live
  }

  close(): Promise<void> {
    return this.#prepared.close()
  }

  #runtime(name: RuntimeName): RuntimeFiles {
    const runtime = this.#deps.config.runtimes[name]
    if (!runtime) throw new PlatformError('NO_CAPACITY', `this node has no runtime ${name}`)
    return runtime
  }

  async #create(runtime: RuntimeFiles, tmpMiB: number, forRestore: boolean): Promise<RunningInstance> {
    const { host, gateway } = this.#deps
    const id = randomBytes(8).toString('hex')
    this.#live.add(id)
    mkdirSync(socketDir(host.runDir, id), { recursive: true })
    const endpoint = await gateway.openEndpoint(id, `${socketDir(host.runDir, id)}/api.sock`)
    try {
      // Until the function is known.
      const limits = startLimits(this.#limitsOf({ memoryMiB: 256 }))
      const sandbox = await Sandbox.create(host, { id, runtime, limits, tmpMiB, forRestore })
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

  async #prepare(name: RuntimeName, kind: PreparedKind): Promise<RunningInstance> {
    const runtime = this.#runtime(name)
    const instance = await this.#create(runtime, defaultTmpMiB, true)
    if (kind === 'parked') await orEnd(instance, () => instance.sandbox.restore(checkpointOf(runtime)))
    return instance
  }

  async #restore(start: Start, use: PreparedKind | undefined): Promise<RunningInstance> {
    const { watch, runtime, config } = start
    const code = this.#code(start)
    const ready = use && this.#prepared.take(use, config.runtime)
    const instance = await watch.time('sandbox', () => ready ?? this.#create(runtime, config.ephemeralStorageMiB, true))
    return orEnd(instance, async () => {
      this.#limit(instance, config)
      if (use !== 'parked') await watch.time('restore', () => instance.sandbox.restore(checkpointOf(runtime)))
      return this.#assign(start, instance, code, 'restore')
    })
  }

  async #boot(start: Start): Promise<RunningInstance> {
    const { watch, runtime, config } = start
    const code = this.#code(start)
    const instance = await watch.time('sandbox', () => this.#create(runtime, config.ephemeralStorageMiB, false))
    return orEnd(instance, async () => {
      this.#limit(instance, config)
      await watch.time('boot', () => instance.sandbox.boot())
      return this.#assign(start, instance, code, 'boot')
    })
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
  #limit({ sandbox, endpoint }: RunningInstance, config: VersionConfig): void {
    const limits = this.#limitsOf(config)
    sandbox.setLimits(startLimits(limits))
    endpoint.ready.then(
      () => sandbox.setLimits(limits),
      () => undefined,
    )
  }

  async #assign(
    { watch, config, forInvocation }: Start,
    instance: RunningInstance,
    code: Promise<string>,
    startType: 'restore' | 'boot',
  ): Promise<RunningInstance> {
    const { sandbox, endpoint } = instance
    const image = await code
    await watch.time('mount', () => sandbox.mountCode(image))
    endpoint.assign({
      config,
      startType,
      forInvocation,
      phases: watch.phases,
      startedAt: watch.startedAt,
      peakMemoryMiB: () => sandbox.peakMemoryMiB(),
    })
    return instance
  }
}

const checkpointOf = ({ checkpointPath }: RuntimeFiles): string => {
  if (!checkpointPath) throw new PlatformError('INTERNAL', 'the runtime has no checkpoint')
  return checkpointPath
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
