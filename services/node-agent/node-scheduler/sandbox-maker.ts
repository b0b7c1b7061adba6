/**
 * Sandboxes with the node gateway's end of each: created, limited, restored from a runtime's checkpoint. What is put into them, and in
 * which order, is for sandbox-starter.ts and seed-maker.ts to say.
 */
import { join } from 'node:path'
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { RuntimeName, VersionConfig } from '../../contracts/function.ts'
import type { StartType } from '../../contracts/placement.ts'
import { emptyCodeName } from '../checkpoint/manifest.ts'
import type { CodeImages } from '../code-images/code-images.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../config.ts'
import type { AssignmentInput, InstanceBody, InstanceEndpoint, NodeGateway } from '../instance.ts'
import type { SandboxNetworks } from '../network/start-network.ts'
import type { RuntimeChecks } from '../runtime-checks.ts'
import type { Limits } from '../sandbox/cgroup.ts'
import { Sandbox, type SandboxCheckpoint, type SandboxHost } from '../sandbox/sandbox.ts'
import { instanceLimits, startLimits } from './limits.ts'
import type { Stopwatch } from './phases.ts'
import { SandboxSlots, type Slot } from './sandbox-slots.ts'

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

/** One start, from command to assignment. */
export interface Start {
  readonly watch: Stopwatch
  readonly runtime: RuntimeFiles
  readonly config: VersionConfig
  readonly forInvocation: string | undefined
  readonly provisioned?: boolean | undefined
}

/** Of a seed, whose channel is there before its sandbox. */
export interface Given {
  readonly slot: Slot
  /** `NAME=value` of the first process. */
  readonly environment: readonly string[]
}

export interface MakerDeps {
  readonly config: Pick<NodeAgentConfig, 'runtimes' | 'limits'>
  readonly host: SandboxHost
  readonly gateway: NodeGateway
  readonly images: CodeImages
  readonly checks: RuntimeChecks
  readonly networks: SandboxNetworks
  readonly logger: Logger
}

export class SandboxMaker {
  readonly #deps: MakerDeps
  /** Ids of all sandboxes from before their creation until nothing of them is left: whatever else is found is a leftover. */
  readonly live = new Set<string>()
  readonly slots: SandboxSlots

  constructor(deps: MakerDeps) {
    this.#deps = deps
    this.slots = new SandboxSlots({ ...deps, live: this.live })
  }

  /** @throws PlatformError NO_CAPACITY when the node does not have it, or has it damaged. */
  async runtime(name: RuntimeName): Promise<RuntimeFiles> {
    const runtime = this.#deps.config.runtimes[name]
    if (!runtime) throw new PlatformError('NO_CAPACITY', `this node has no runtime ${name}`)
    await this.#deps.checks.image(name, runtime)
    return runtime
  }

  /** @throws SandboxError when gVisor refuses; nothing is left then. */
  async create(
    runtime: RuntimeFiles,
    tmpMiB: number,
    checkpoint: SandboxCheckpoint | undefined,
    given?: Given,
  ): Promise<SandboxInstance> {
    const { slot, environment } = given ?? { slot: await this.slots.take(), environment: [] }
    const { place, endpoint } = slot
    try {
      // Until the function is known.
      const limits = startLimits(this.limitsOf({ memoryMiB: 256 }))
      const spec = { id: place.id, runtime, limits, tmpMiB, checkpoint, environment }
      const sandbox = await Sandbox.create(this.#deps.host, spec, place)
      endpoint.attachLogs(sandbox.stdout, sandbox.stderr)
      void sandbox.exited.then((exit) => endpoint.close(exit))
      void sandbox.removed.then(() => this.live.delete(place.id))
      return { sandbox, endpoint }
    } catch (error) {
      await this.slots.drop(slot)
      throw error
    }
  }

  /** Restores the bare runtime. @throws when its checkpoint is damaged, or gVisor refuses it. */
  async restore({ sandbox }: SandboxInstance, runtime: RuntimeFiles): Promise<void> {
    await sandbox.restore(await this.#deps.checks.checkpoint(runtime))
  }

  /** It is created, and the function that will run in it is known. */
  expect(instance: SandboxInstance, { config }: Start): void {
    this.#deps.networks.expect(instance, config)
  }

  /** What the function's network policy says, if it has one. The sandbox runs, and nothing of the function does yet. */
  async connect(instance: SandboxInstance, { watch, config }: Start): Promise<void> {
    const connecting = this.#deps.networks.connect(instance, config)
    if (connecting) await watch.time('network', () => connecting)
  }

  /** Path of the function's code, on its way while the sandbox is made. */
  code({ watch, config }: Start): Promise<string> {
    const code = watch.time('code', () => this.#deps.images.path(config.imageDigest, config))
    // A failed fetch is noticed when the code is mounted; until then it must not count as unhandled.
    code.catch(() => undefined)
    return code
  }

  limitsOf({ memoryMiB }: Pick<VersionConfig, 'memoryMiB'>): Limits {
    const { sandboxOverheadMiB, pids } = this.#deps.config.limits
    return instanceLimits(memoryMiB, sandboxOverheadMiB, pids)
  }

  /** The function's memory from now on, its CPUs once it has started. */
  limit({ sandbox, endpoint }: SandboxInstance, config: VersionConfig): void {
    const limits = this.limitsOf(config)
    sandbox.setLimits(startLimits(limits))
    endpoint.ready.then(
      () => sandbox.setLimits(limits),
      () => undefined,
    )
  }
}

/** Of a sandbox into which the bare runtime is restored. */
export const bareCheckpoint = (runtime: RuntimeFiles): SandboxCheckpoint => ({
  of: 'runtime',
  code: join(runtime.checkpointPath ?? '', emptyCodeName),
})

export const assignmentOf = (
  { watch, config, forInvocation, provisioned }: Start,
  startType: StartType,
  peakMemoryMiB: () => number,
): AssignmentInput => {
  const { phases, startedAt } = watch
  return { config, startType, forInvocation, provisioned, phases, startedAt, peakMemoryMiB }
}

/** What could not be finished is not left half done. */
export const orEnd = async <T>(instance: RunningInstance, work: () => Promise<T>): Promise<T> => {
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
