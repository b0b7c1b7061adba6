/** What a figure was measured on. */
import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem } from 'node:os'
import { basename } from 'node:path'
import forkyard from '../../package.json' with { type: 'json' }
import { repoRoot } from '../../scripts/setup/paths.ts'
import { toolVersions } from '../../scripts/setup/tool-table.ts'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'

export interface Host {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  /** Versions of the platform, of what the stack installs and of what it is brought up with, by name. */
  readonly versions: Readonly<Record<string, string>>
}

export interface Machine extends Host {
  readonly runsc: string
  /** Digests of the runtimes' images, and keys of their checkpoints, by runtime. */
  readonly runtimes: Readonly<Record<string, { readonly image: string; readonly checkpoint: string | null }>>
}

const versions = (): Record<string, string> => {
  const { version, dependencies } = forkyard
  return { forkyard: version, commit: commit(), ...toolVersions, ...dependencies }
}

/** With a mark when files differ from it. */
const commit = (): string => {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--abbrev=12'], {
      cwd: repoRoot,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'unknown'
  }
}

export const describeHost = (): Host => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 1024 ** 3),
  kernel: release(),
  node: process.version,
  versions: versions(),
})

export const describeMachine = ({ runscPath, runtimes }: NodeAgentConfig): Machine => ({
  ...describeHost(),
  runsc: execFileSync(runscPath, ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? '',
  runtimes: Object.fromEntries(
    Object.entries(runtimes).map(([name, { imageDigest, checkpointPath }]) => [
      name,
      { image: imageDigest, checkpoint: checkpointPath ? basename(checkpointPath) : null },
    ]),
  ),
})
