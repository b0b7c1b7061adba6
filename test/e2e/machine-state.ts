/** What sandboxes hold on the machine, counted: whatever a test does to them, afterwards there is no more than before. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, vi } from 'vitest'
import type { Premises } from '../../scripts/place.ts'
import { cgroupDirs, mountsBelow } from '../../stacks/host-scripts/leftovers.ts'
import { slotsAhead } from '../../services/node-agent/node-scheduler/sandbox-slots.ts'
import { cacheOf, leftoversOf, pidOf } from './host.ts'

export type MachineState = Readonly<Record<string, number>>

const namesIn = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir) : [])
const linesOf = (file: string): string[] => readFileSync(file, 'utf8').trimEnd().split('\n')

/** Directories of the groups of all sandboxes, in each hierarchy. */
const groupDirs = (installation: string): string[] =>
  cgroupDirs(installation).flatMap((dir) =>
    readdirSync(dir, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [join(dir, entry.name)] : [])),
  )

const processesIn = (group: string): string[] => {
  try {
    return readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)
  } catch {
    return []
  }
}

/** Sandboxes that have a control group. */
export const sandboxIds = ({ installation }: Premises): string[] => [
  ...new Set(groupDirs(installation).map((dir) => basename(dir))),
]

/** Host processes of one sandbox; none when it is gone. */
export const sandboxProcesses = ({ installation }: Premises, sandboxId: string): string[] =>
  groupDirs(installation).flatMap((dir) => (dir.endsWith(`/${sandboxId}`) ? processesIn(dir) : []))

/** Of the agent, but for its TCP connections. */
const agentDescriptors = (target: Premises): Record<string, number> => {
  const dir = `/proc/${pidOf(target, 'node-agent')}/fd`
  const unix = new Set(linesOf('/proc/net/unix').map((line) => line.trim().split(/\s+/)[6]))
  const kinds = readdirSync(dir).flatMap((fd) => {
    try {
      const to = readlinkSync(join(dir, fd))
      const [, kind = 'file', inode = ''] = /^(\w+):\[(.*)\]$/.exec(to) ?? []
      return kind !== 'socket' || unix.has(inode) ? [kind] : []
    } catch {
      return []
    }
  })
  return Object.fromEntries(
    [...new Set(kinds)].map((kind) => [`agent ${kind}`, kinds.filter((each) => each === kind).length]),
  )
}

export const agentMemoryMiB = (target: Premises): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pidOf(target, 'node-agent')}/status`, 'utf8'))?.[1]) / 1024

export const machineState = (target: Premises): MachineState => {
  const { installation, runDir, stateDir } = target
  const groups = groupDirs(installation)
  return {
    mounts: mountsBelow([runDir, stateDir]).length,
    controlGroups: groups.length,
    sandboxProcesses: new Set(groups.flatMap(processesIn)).size,
    // State files and control sockets.
    runscFiles: namesIn(join(runDir, 'runsc')).length,
    instanceDirs: namesIn(join(runDir, 'i')).length,
    unixSockets: linesOf('/proc/net/unix').filter((line) => line.includes(`${runDir}/`)).length,
    ...agentDescriptors(target),
  }
}

/** Taken once nothing is in the making or going away. */
export const settledState = (target: Premises): Promise<MachineState> =>
  vi.waitFor(
    async () => {
      const before = machineState(target)
      await new Promise((resolve) => setTimeout(resolve, 300))
      expect(machineState(target)).toEqual(before)
      expect(await leftoversOf(target)).toEqual([])
      expect((await cacheOf(target)).slots).toHaveLength(slotsAhead)
      return before
    },
    { timeout: 30_000, interval: 100 },
  )

/** Resolves when nothing is left of what came after `before`. What ended meanwhile of earlier tests is no matter. */
export const backTo = (target: Premises, before: MachineState): Promise<void> =>
  vi.waitFor(
    async () => {
      const more = Object.entries(machineState(target)).filter(([name, count]) => count > (before[name] ?? 0))
      expect(more.map(([name, count]) => `${name}: ${count}, before ${before[name] ?? 0}`)).toEqual([])
      expect(await leftoversOf(target)).toEqual([])
    },
    { timeout: 30_000, interval: 200 },
  )
