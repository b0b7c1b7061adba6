/** Boots the runtime once in a sandbox of the agent's shape and saves it where it waits. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { Candidate } from '../../services/node-agent/checkpoint/gate.ts'
import { emptyCodeName } from '../../services/node-agent/checkpoint/manifest.ts'
import { bootAndSave } from '../../services/node-agent/checkpoint/save.ts'
import type { RuntimeFiles } from '../../services/node-agent/config.ts'
import { defaultTmpMiB } from '../../services/node-agent/sandbox/bundle.ts'
import { Sandbox, type SandboxHost } from '../../services/node-agent/sandbox/sandbox.ts'
import { makeErofs } from '../erofs.ts'

const bootMs = 120_000
const limits = { memoryMiB: 1024, cpus: 2, pids: 1024 }

/**
 * Files of the checkpoint, and the empty code image that goes with it, in `<scratch>/checkpoint`.
 * @param scratch an empty directory. @throws Error with what the runtime printed.
 */
export const saveCheckpoint = async (host: SandboxHost, runtime: RuntimeFiles, scratch: string): Promise<Candidate> => {
  const [directory, nothing] = ['checkpoint', 'nothing'].map((name) => join(scratch, name)) as [string, string]
  for (const dir of [directory, nothing]) mkdirSync(dir)
  const built = join(scratch, emptyCodeName)
  await makeErofs(nothing, built)
  const spec = { id: randomBytes(8).toString('hex'), runtime, limits, tmpMiB: defaultTmpMiB }
  const sandbox = await Sandbox.create(host, { ...spec, checkpoint: { of: 'runtime', code: built } })
  try {
    await bootAndSave(sandbox, directory, bootMs)
  } finally {
    await sandbox.end({ reason: 'killed', detail: 'saved' })
  }
  const code = join(directory, emptyCodeName)
  renameSync(built, code)
  return { runtime, directory, code, tmpMiB: defaultTmpMiB, limits }
}
