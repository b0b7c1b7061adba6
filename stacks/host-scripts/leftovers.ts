/**
 * Removes what an installation left on the machine, whatever happened to it: processes, sandboxes, control groups, mounts and
 * its run directory. Idempotent; needs no state.
 *
 *   leftovers.ts remove          input: {installation, stateDir, runDir}
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Type, type Static } from 'typebox'
import { readInput } from './input.ts'
import { killAll, processesOf } from './processes.ts'

export const InstallationRef = Type.Object({
  installation: Type.String({ pattern: '^[a-z][a-z0-9-]*$' }),
  stateDir: Type.String({ pattern: '^/.+/.' }),
  runDir: Type.String({ pattern: '^/.+/.' }),
})
export type InstallationRef = Static<typeof InstallationRef>

/** Control group above all groups of the installation's sandboxes. */
export const cgroupParent = (installation: string): string => `forkyard-${installation}`

const cgroupRoot = '/sys/fs/cgroup'

/** The parent in every hierarchy that is mounted: one on v2, one a controller on v1. */
export const cgroupDirs = (installation: string): string[] => {
  const hierarchies = existsSync(cgroupRoot) ? ['', ...readdirSync(cgroupRoot)] : []
  return hierarchies
    .map((hierarchy) => join(cgroupRoot, hierarchy, cgroupParent(installation)))
    .filter((dir) => existsSync(dir))
}

const subtree = (dir: string): string[] => [
  ...readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => subtree(join(dir, entry.name))),
  dir,
]

const tryRemoveCgroup = (dir: string): boolean => {
  for (const group of subtree(dir)) {
    const pids = readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number)
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone already.
      }
    }
    try {
      rmdirSync(group)
    } catch {
      return false
    }
  }
  return true
}

const removeCgroups = async (installation: string): Promise<void> => {
  for (let round = 0; round < 100; round++) {
    const left = cgroupDirs(installation).filter((dir) => !tryRemoveCgroup(dir))
    if (left.length === 0) return
    await delay(20)
  }
  throw new Error(`control groups do not empty: ${cgroupDirs(installation).join(', ')}`)
}

/** Mount points below the directories, innermost first. */
export const mountsBelow = (dirs: readonly string[], mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): string[] =>
  mountinfo
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))))
    .filter((point) => dirs.some((dir) => point === dir || point.startsWith(`${dir}/`)))
    .toReversed()

export const removeLeftovers = async ({ installation, stateDir, runDir }: InstallationRef): Promise<void> => {
  await killAll(() => processesOf({ stateDir, runDir }))
  await removeCgroups(installation)
  for (const point of mountsBelow([stateDir, runDir])) execFileSync('umount', ['-l', point])
  rmSync(runDir, { recursive: true, force: true })
}

if (import.meta.main) {
  if (process.argv[2] !== 'remove') throw new Error('usage: leftovers.ts remove')
  await removeLeftovers(readInput(InstallationRef))
}
