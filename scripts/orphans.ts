/** Commands that an engine or a set-up which was killed left running. Services are none: their environment is their own. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { ownerVariable } from '../stacks/host-scripts/processes.ts'

export const isOwned = (environ: string, owners: readonly string[]): boolean =>
  environ.split('\0').some((entry) => owners.some((owner) => entry === `${ownerVariable}=${owner}`))

/** This process and what it descends from: a user's shell may carry the variable. */
const ancestry = (): Set<number> => {
  const line = new Set<number>()
  for (let pid = process.pid; pid > 1 && !line.has(pid);) {
    line.add(pid)
    const stat = readProcFile(pid, 'stat') ?? ''
    pid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0)
  }
  return line
}

export const readProcFile = (pid: number, name: string): string | undefined => {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return undefined
  }
}

export const isOwnedProcess = (pid: number, owners: readonly string[]): boolean =>
  isOwned(readProcFile(pid, 'environ') ?? '', owners)

const findOrphans = (owners: readonly string[]): number[] => {
  const own = ancestry()
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => !own.has(pid) && isOwnedProcess(pid, owners))
}

/** Only for the holder of the installation's lock: there is no other rightful owner then. */
export const endOrphans = async (owners: readonly string[]): Promise<void> => {
  for (let round = 0; round < 200; round++) {
    const orphans = findOrphans(owners)
    if (orphans.length === 0) return
    for (const pid of orphans) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone already.
      }
    }
    await delay(20)
  }
  throw new Error(`commands of an earlier run do not end: ${findOrphans(owners).join(', ')}`)
}
