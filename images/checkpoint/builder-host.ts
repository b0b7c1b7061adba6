/**
 * A place for the builder's own sandboxes, apart from every agent's: run directory and control groups named by this process and its namespace.
 * Whatever is in it goes at the end; what a killed builder left goes with the next one.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { buildAddon } from '../../services/node-agent/native/build.ts'
import { CgroupTree } from '../../services/node-agent/sandbox/cgroup.ts'
import { loadHostCalls } from '../../services/node-agent/sandbox/host-calls.ts'
import { runscRoot, type SandboxHost } from '../../services/node-agent/sandbox/sandbox.ts'
import { undoing } from '../interruption.ts'
import { abandonedBuilders, builderName } from './abandoned.ts'

const run = promisify(execFile)

/** Short: socket paths end at 107 bytes. */
const runParent = '/run'
const groupRoot = '/sys/fs/cgroup'

export interface BuilderTools {
  readonly runscPath: string
  /** The agent's addon; absent: compiled for the occasion. */
  readonly addonPath?: string | undefined
}

export const withBuilderHost = async <T>(
  { runscPath, addonPath }: BuilderTools,
  use: (host: SandboxHost) => Promise<T>,
): Promise<T> => {
  for (const abandoned of abandonedBuilders(runParent, groupRoot)) await removeHost(abandoned)
  const name = builderName(process.pid)
  const runDir = join(runParent, name)
  mkdirSync(runDir, { recursive: true, mode: 0o711 })
  return undoing(
    () => removeHost(name),
    () => {
      const host = loadHostCalls(addonPath ?? buildAddon(join(runDir, 'native')))
      return use({ host, cgroups: new CgroupTree(name), runscPath, runDir })
    },
  )
}

/** Kills what runs in its control groups, then removes groups, mounts and files. Idempotent. */
const removeHost = async (name: string): Promise<void> => {
  const cgroups = new CgroupTree(name)
  await Promise.all(cgroups.list().map((id) => cgroups.create(id).destroy()))
  cgroups.removeParent()
  const runDir = join(runParent, name)
  // runsc keeps an empty network namespace mounted in its root.
  const namespace = join(runscRoot(runDir), 'null-netns')
  if (existsSync(namespace)) await run('umount', ['--lazy', namespace]).catch(() => undefined)
  rmSync(runDir, { recursive: true, force: true })
}
