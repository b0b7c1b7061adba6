/**
 * Makes the checkpoint of one version: its function is initialised in a sandbox of its own, which is saved; then its pages are looked
 * through, and two clones are compared. The sandbox is booted with the code in its bundle: gVisor does not save a mount that was made
 * later, so one that was restored from the bare runtime could not be saved again.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { VersionConfig } from '../../contracts/function.ts'
import type { RuntimeFiles } from '../config.ts'
import { initialisationType, instanceEnvironment } from '../node-gateway/environment.ts'
import type { Limits } from '../sandbox/cgroup.ts'
import { socketDir } from '../sandbox/place.ts'
import { checkClones, GateError, withSandbox, withSandboxId, type MakerPlace } from './gate.ts'
import { InitError, serveMaker, type SaveReport } from './maker-socket.ts'
import { waitForMark } from './save.ts'
import { findSecrets } from './scan.ts'
import { secretNames } from './secrets.ts'

/** This revision cannot have a checkpoint; trying again would not help. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
}

export interface VersionInput {
  readonly config: VersionConfig
  readonly runtime: RuntimeFiles
  /** EROFS image of the function's code. */
  readonly code: string
  readonly limits: Limits
  readonly region: string
  /** The node's own, by what they are called in a reason. */
  readonly nodeSecrets: Readonly<Record<string, string>>
  /** Resolves when nobody waits for a start: each step begins then. */
  readonly quiet: () => Promise<void>
}

const initMs = 60_000

/**
 * @param directory exists and is empty.
 * @returns what the runtime said. @throws RefusedError with the reason; Error when something went wrong.
 */
export const makeVersionCheckpoint = async (
  place: MakerPlace,
  input: VersionInput,
  directory: string,
): Promise<SaveReport> => {
  const { config, runtime, code, limits, nodeSecrets, quiet } = input
  await quiet()
  const report = await saveInitialised(place, input, directory)
  const withheld = Object.fromEntries(secretNames(config).map((name) => [name, config.environment[name] ?? '']))
  const found = await findSecrets(directory, { ...withheld, ...nodeSecrets })
  if (found.length > 0) throw new RefusedError(`its memory holds a secret: ${found.join(', ')}`)
  await quiet()
  const candidate = { runtime, directory, code, tmpMiB: config.ephemeralStorageMiB, limits, ofVersion: true }
  try {
    await checkClones(place, candidate)
  } catch (error) {
    if (error instanceof GateError || error instanceof InitError)
      throw new RefusedError(error.message, { cause: error })
    throw error
  }
  return report
}

const saveInitialised = (place: MakerPlace, input: VersionInput, directory: string): Promise<SaveReport> =>
  withSandboxId(place, async (id) => {
    const { host } = place
    const { config, runtime, code, limits, region } = input
    const withheld = secretNames(config)
    const environment = instanceEnvironment(
      { ...config, environment: without(config.environment, withheld) },
      id,
      region,
    )
    mkdirSync(socketDir(host.runDir, id), { recursive: true })
    const socket = await serveMaker(join(socketDir(host.runDir, id), 'api.sock'), {
      instanceId: id,
      environment: { ...environment, ...initialisationType },
      handler: config.handler,
      concurrency: config.policy.concurrency,
      startType: 'boot',
      entropy: '',
      checkpoint: { withheld },
    })
    try {
      const checkpoint = { of: 'version', code } as const
      const spec = { id, runtime, limits, tmpMiB: config.ephemeralStorageMiB, checkpoint }
      return await withSandbox(place, spec, async (sandbox) => {
        const waiting = waitForMark(sandbox, initMs)
        await sandbox.boot()
        const report = await Promise.race([socket.report, waiting.reached.then(() => socket.report)])
        if (report.refused !== undefined) throw new RefusedError(report.refused)
        await waiting.reached
        await sandbox.save(directory)
        return report
      })
    } catch (error) {
      if (error instanceof InitError) throw new RefusedError(`its initialisation failed: ${error.message}`)
      throw error
    } finally {
      socket.close()
    }
  })

const without = (all: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)))
