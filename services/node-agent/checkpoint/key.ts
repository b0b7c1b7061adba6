/** What a checkpoint depends on: another value of any of these needs another checkpoint. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ociSpec, runscFlags, type CheckpointOf } from '../sandbox/bundle.ts'

/** gVisor saves what CPUID said, and refuses to restore where a feature is missing. */
export const cpuFeatures = (cpuinfo: string): string => {
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(cpuinfo)?.[1] ?? ''
  const flags = field('flags').split(' ').sort().join(' ')
  return [field('vendor_id'), field('cpu family'), field('model'), flags].join('\n')
}

/** Of the machine and its gVisor, which do not change while a process runs. */
export const platformParts = (runscPath: string): string[] => [
  execFileSync(runscPath, ['--version'], { encoding: 'utf8' }),
  cpuFeatures(readFileSync('/proc/cpuinfo', 'utf8')),
]

/** Of the sandbox: gVisor compares mounts, process and namespaces. */
export const shapePart = (command: readonly string[], checkpoint: CheckpointOf, tmpMiB?: number): string => {
  const shape = ociSpec(
    { imagePath: '', command, socketDir: '', hostname: '', checkpoint, codePath: '', ...(tmpMiB ? { tmpMiB } : {}) },
    '',
  )
  return JSON.stringify([shape, runscFlags])
}

export const keyOf = (parts: readonly string[]): string =>
  createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 32)
