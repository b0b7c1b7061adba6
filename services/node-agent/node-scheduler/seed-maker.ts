/** Makes a seed: a sandbox in which the function is loaded, and nothing served; its forks serve. */
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import type { ForkLimits } from '../../contracts/runtime-api.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../config.ts'
import type { NodeGateway } from '../instance.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import { seedCommand, seedWays, type SeedWay } from '../runtime-files.ts'
import { defaultTmpMiB } from '../sandbox/bundle.ts'
import type { Limits } from '../sandbox/cgroup.ts'
import { socketDir } from '../sandbox/place.ts'
import { ForkChannel } from './fork-channel.ts'
import { forkProcesses, seedLimits, startLimits } from './limits.ts'
import { Stopwatch } from './phases.ts'
import {
  assignmentOf,
  bareCheckpoint,
  orEnd,
  type SandboxInstance,
  type SandboxMaker,
  type Start,
} from './sandbox-maker.ts'
import { Seed } from './seed.ts'
import { UnfitError } from './seed-faults.ts'

export interface SeedMakerDeps {
  readonly maker: SandboxMaker
  readonly config: Pick<NodeAgentConfig, 'limits' | 'forksPerSeed'>
  readonly runDir: string
  readonly gateway: NodeGateway
  readonly logger: Logger
  readonly metrics: Pick<SchedulerMetrics, 'restoreFailures'>
}

/**
 * A seed is restored where that is as good as a boot; one that cannot be is booted.
 * @throws UnfitError when the function cannot be forked; or what went wrong. Nothing is left then.
 */
export const makeSeed = async (deps: SeedMakerDeps, config: VersionConfig): Promise<Seed> => {
  const { runtime, ephemeralStorageMiB } = config
  const way = seedWays[runtime]
  if ('refused' in way) throw new UnfitError(way.refused)
  const files = await deps.maker.runtime(runtime)
  // As for every instance, the size of /tmp is part of what was checkpointed.
  if (way.restorable && files.checkpointPath !== undefined && ephemeralStorageMiB === defaultTmpMiB) {
    try {
      return await startSeed(deps, config, way, files, true)
    } catch (error) {
      if (!(error instanceof SeedRestoreError)) throw error
      deps.metrics.restoreFailures.inc({ runtime, checkpoint: 'runtime' })
      deps.logger.warn({ err: error.cause, runtime }, 'restore of a seed failed, booting instead')
    }
  }
  return startSeed(deps, config, way, files, false)
}

/** The checkpoint could not be restored; a boot may go well. */
class SeedRestoreError extends Error {
  override readonly name = 'SeedRestoreError'
}

const asSeedRestoreError = (cause: unknown): never => {
  throw new SeedRestoreError('a seed could not be restored', { cause })
}

/** @throws SeedRestoreError when the checkpoint is the problem. */
const startSeed = async (
  deps: SeedMakerDeps,
  config: VersionConfig,
  way: SeedWay,
  files: RuntimeFiles,
  restored: boolean,
): Promise<Seed> => {
  const { maker, gateway, runDir } = deps
  const { forksPerSeed: maxForks, limits: nodeLimits } = deps.config
  const runtime = { ...files, command: seedCommand(files.command, way) }
  const start: Start = { watch: new Stopwatch(), runtime, config, forInvocation: undefined }
  const code = maker.code(start)
  const slot = await maker.slots.take()
  const directory = socketDir(runDir, slot.place.id)
  let made: Seed | undefined
  const channel = await ForkChannel.open(`${directory}/seed.sock`, {
    message: (message) => made?.hear(message),
    lost: (problem) => void made?.end({ reason: 'exit', detail: problem }),
  }).catch(async (error: unknown) => {
    await maker.slots.drop(slot)
    throw error
  })
  try {
    const checkpoint = restored ? bareCheckpoint(files) : undefined
    const given = { slot, environment: way.environment }
    const instance = await maker.create(runtime, config.ephemeralStorageMiB, checkpoint, given)
    const { sandbox, endpoint } = instance
    maker.expect(instance, start)
    return await orEnd(instance, async () => {
      sandbox.setLimits(startLimits(maker.limitsOf(config)))
      if (restored) await maker.restore(instance, files).catch(asSeedRestoreError)
      else await sandbox.boot()
      await sandbox.mountCode(await code)
      // Its forks share its sandbox, and so its address: they are one function's.
      await maker.connect(instance, start)
      const { memoryMiB, ephemeralStorageMiB: tmpMiB } = config
      const { sandboxOverheadMiB, pids } = nodeLimits
      const forkLimits: ForkLimits = { memoryMiB, processes: forkProcesses(memoryMiB, pids), tmpMiB }
      const assignment = assignmentOf(start, restored ? 'restore' : 'boot', () => sandbox.peakMemoryMiB())
      endpoint.assign({ ...assignment, seed: forkLimits })
      const hello = await Promise.race([channel.hello, failure(instance)])
      endpoint.initialised()
      if ('unfit' in hello) throw new UnfitError(hello.unfit)
      const limits = (forks: number, starting: boolean): Limits => {
        const all = seedLimits(memoryMiB, sandboxOverheadMiB, pids, forks)
        return starting ? startLimits(all) : all
      }
      made = new Seed({ sandbox, endpoint, channel, config, gateway, directory, maxForks, limits, forkLimits })
      return made
    })
  } catch (error) {
    channel.close()
    throw error
  }
}

/** Rejects when the function cannot be initialised, or its sandbox ends. */
const failure = async ({ sandbox, endpoint }: SandboxInstance): Promise<never> => {
  await Promise.race([endpoint.ready, sandbox.exited])
  await endpoint.ready
  throw new PlatformError('START_FAILED', 'the seed ended')
}
