/**
 * What an installation has on the machine.
 *
 *   leftovers.ts prepare   makes its directories
 *   leftovers.ts check     a line for each that is not there
 *   leftovers.ts remove    removes all of it, whatever happened before: processes, sandboxes, control groups, mounts, files
 *
 * Input: {installation, stateDir, runDir}. Both are idempotent and need no state.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Type, type Static } from 'typebox'
import { sayDrift } from './drift.ts'
import { removeNetworkLeftovers } from '../../services/node-agent/network/leftovers.ts'
import { readInput } from './input.ts'
import { killAll, processesOf } from './processes.ts'
import { removeUnits } from './systemd.ts'

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
    // 0 is a process of a namespace that is not ours; to kill it would be to kill our own group.
    const lines = readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n')
    const pids = lines.map(Number).filter((pid) => pid > 0)
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
export const mountsBelow = (
  dirs: readonly string[],
  mountinfo = readFileSync('/proc/self/mountinfo', 'utf8'),
): string[] =>
  mountinfo
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replaceAll(/\\(\d{3})/g, (_, octal: string) =>
        String.fromCharCode(parseInt(octal, 8)),
      ),
    )
    .filter((point) => dirs.some((dir) => point === dir || point.startsWith(`${dir}/`)))
    .toReversed()

export const removeLeftovers = async ({ installation, stateDir, runDir }: InstallationRef): Promise<void> => {
  await killAll(() => processesOf({ stateDir, runDir }))
  await removeCgroups(installation)
  await removeNetworkLeftovers({ owner: cgroupParent(installation), runDir })
  for (const point of mountsBelow([stateDir, runDir])) execFileSync('umount', ['-l', point])
  for (const dir of [runDir, stateDir]) {
    rmSync(dir, { recursive: true, force: true })
    removeIfEmpty(dirname(dir))
  }
}

/** The directory that the installations of a machine share, after its last one. */
export const removeIfEmpty = (dir: string): void => {
  if (basename(dir) !== 'forkyard') return
  try {
    rmdirSync(dir)
  } catch {
    // Not empty, or gone.
  }
}

const prepare = ({ stateDir, runDir }: InstallationRef): void => {
  for (const dir of [stateDir, runDir]) mkdirSync(dir, { recursive: true, mode: 0o700 })
}

const check = ({ stateDir, runDir }: InstallationRef): void =>
  sayDrift([stateDir, runDir].flatMap((dir) => (existsSync(dir) ? [] : [`${dir} is not there`])))

const remove = async (ref: InstallationRef): Promise<void> => {
  await removeUnits(ref.installation)
  await removeLeftovers(ref)
}

export const directoriesCommand = async ([name = '']: readonly string[]): Promise<void> => {
  const verbs: Readonly<Record<string, (ref: InstallationRef) => unknown>> = { prepare, check, remove }
  const verb = verbs[name]
  if (!verb) throw new Error('usage: leftovers.ts prepare|check|remove')
  await verb(readInput(InstallationRef))
}

if (import.meta.main) await directoriesCommand(process.argv.slice(2))
