/**
 * Makes one instance run: sandbox, code and restore side by side, then the code's mount, then the assignment that the instance
 * is waiting for. A restore that fails falls back to a boot; only the boot's failure is the start's.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import type { Counter } from 'prom-client'
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import type { StartWish } from '../../contracts/placement.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../config.ts'
import type { InstanceEndpoint, NodeGateway } from '../instance.ts'
import { defaultTmpMiB } from '../sandbox/bundle.ts'
import { Sandbox, socketDir, type SandboxHost } from '../sandbox/sandbox.ts'
import { chooseStart } from './choose-start.ts'
import type { CodeImages } from './code-images.ts'
import { instanceLimits } from './limits.ts'
import { Stopwatch } from './phases.ts'

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

export class SandboxStarter {
  readonly #deps: StarterDeps
  /** Created sandboxes without function or code, per runtime. */
  readonly #precreated = new Map<string, Promise<RunningInstance>[]>()
  readonly #live = new Set<string>()
  #closed = false

  constructor(deps: StarterDeps) {
    this.#deps = deps
  }

  /**
   * Resolves when the instance has its assignment; whether its code initialises well is `endpoint.ready`'s to tell.
   * @throws when no way of starting worked. Nothing is left then.
   */
  async start(wish: StartWish, config: VersionConfig): Promise<RunningInstance> {
    const watch = new Stopwatch()
    const runtime = this.#runtime(config)
    const waiting = this.#precreated.get(config.runtime) ?? []
    const choice = chooseStart({
      wish,
      hasCheckpoint: runtime.checkpointPath !== undefined,
      precreated: waiting.length,
      ephemeralStorageMiB: config.ephemeralStorageMiB,
    })
    if (choice.way === 'restore') {
      const taken = choice.usePrecreated ? waiting.shift() : undefined
      try {
        return await this.#run(watch, runtime, config, 'restore', taken)
      } catch (error) {
        this.#deps.restoreFailures.inc({ runtime: config.runtime })
        this.#deps.logger.warn({ err: error, runtime: config.runtime }, 'restore failed, booting instead')
      } finally {
        if (taken) this.fill()
      }
    }
    return this.#run(watch, runtime, config, 'boot')
  }

  /** Creates sandboxes ahead, up to the configured number per runtime. */
  fill(): void {
    for (const [name, runtime] of Object.entries(this.#deps.config.runtimes)) {
      if (!runtime.checkpointPath) continue
      const waiting = this.#precreated.get(name) ?? []
      this.#precreated.set(name, waiting)
      while (!this.#closed && waiting.length < this.#deps.config.precreatedSandboxes) {
        const made = this.#create(runtime, defaultTmpMiB, true)
        waiting.push(made)
        made.catch((error: unknown) => {
          this.#deps.logger.error({ err: error }, 'a sandbox could not be created ahead')
          void waiting.splice(waiting.indexOf(made), 1)
        })
      }
    }
  }

  /** Ids of all sandboxes from before their creation until nothing of them is left: whatever else is found is a leftover. */
  liveIds(): ReadonlySet<string> {
    return this.#live
  }

  async close(): Promise<void> {
    this.#closed = true
    const made = await Promise.allSettled([...this.#precreated.values()].flat())
    this.#precreated.clear()
    await Promise.all(
      made.flatMap((result) => (result.status === 'fulfilled' ? [endInstance(result.value, 'shutdown')] : [])),
    )
  }

  #runtime(config: VersionConfig): RuntimeFiles {
    const runtime = this.#deps.config.runtimes[config.runtime]
    if (!runtime) throw new PlatformError('NO_CAPACITY', `this node has no runtime ${config.runtime}`)
    return runtime
  }

  async #create(runtime: RuntimeFiles, tmpMiB: number, forRestore: boolean): Promise<RunningInstance> {
    const { host, gateway, config } = this.#deps
    const id = randomBytes(8).toString('hex')
    this.#live.add(id)
    mkdirSync(socketDir(host.runDir, id), { recursive: true })
    const endpoint = await gateway.openEndpoint(id, `${socketDir(host.runDir, id)}/api.sock`)
    try {
      // Wide limits until the function is known; `start` sets the function's own.
      const limits = instanceLimits(256, config.limits.sandboxOverheadMiB, config.limits.pids)
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

  async #run(
    watch: Stopwatch,
    runtime: RuntimeFiles,
    config: VersionConfig,
    way: 'restore' | 'boot',
    precreated?: Promise<RunningInstance>,
  ): Promise<RunningInstance> {
    const { limits } = this.#deps.config
    const code = watch.time('code', () => this.#deps.images.path(config.imageDigest))
    // A failed fetch is noticed below; until then it must not count as unhandled.
    code.catch(() => undefined)
    const running = await watch.time(
      'sandbox',
      () => precreated ?? this.#create(runtime, config.ephemeralStorageMiB, way === 'restore'),
    )
    try {
      const { sandbox, endpoint } = running
      sandbox.setLimits(instanceLimits(config.memoryMiB, limits.sandboxOverheadMiB, limits.pids))
      const checkpoint = runtime.checkpointPath
      await watch.time(way, () => (way === 'restore' && checkpoint ? sandbox.restore(checkpoint) : sandbox.boot()))
      const image = await code
      await watch.time('mount', () => sandbox.mountCode(image))
      endpoint.assign({
        config,
        startType: way,
        phases: watch.phases,
        startedAt: watch.startedAt,
        peakMemoryMiB: () => sandbox.peakMemoryMiB(),
      })
      return running
    } catch (error) {
      await endInstance(running, 'the start failed')
      throw error
    }
  }
}

export const endInstance = async ({ sandbox, endpoint }: RunningInstance, detail: string): Promise<void> => {
  const exit = await sandbox.end({ reason: 'killed', detail })
  await endpoint.close(exit)
}
