/** Control group limits of an instance, from its function's memory size. */
import { availableParallelism } from 'node:os'
import type { Limits } from '../sandbox/cgroup.ts'

/** Lambda gives one CPU for each 1,769 MB. */
const memoryMiBPerCpu = 1769

/** The sandbox's own kernel gets its share on top, so that a function can use all of its memory. Never less than one CPU. */
export const instanceLimits = (memoryMiB: number, overheadMiB: number, pids: number): Limits => ({
  memoryMiB: memoryMiB + overheadMiB,
  cpus: Math.max(1, memoryMiB / memoryMiBPerCpu),
  pids,
})

/**
 * Processes and threads of one fork, inside of the sandbox. Each costs the sandbox's kernel memory that belongs to all forks, so there
 * is one a MiB of the function's.
 */
export const forkProcesses = (memoryMiB: number, pids: number): number => Math.min(pids, Math.max(128, memoryMiB))

/** Of a seed's sandbox: the memory of the seed itself and of each fork, the CPUs of each fork. */
export const seedLimits = (memoryMiB: number, overheadMiB: number, pids: number, forks: number): Limits => {
  const one = instanceLimits(memoryMiB, overheadMiB, pids)
  return {
    memoryMiB: memoryMiB * (forks + 1) + overheadMiB,
    cpus: one.cpus * Math.max(1, forks),
    pids: pids * (forks + 1),
  }
}

/**
 * While it starts (bounded by `limits.initMs`) an instance may use every CPU, as in Lambda: gVisor's processes run side by side, and a
 * quota of one CPU would stop them for the rest of a period just before the first answer.
 */
export const startLimits = (limits: Limits): Limits => ({
  ...limits,
  cpus: Math.max(limits.cpus, availableParallelism()),
})
