/** Control group limits of an instance, from its function's memory size. */
import type { Limits } from '../sandbox/cgroup.ts'

/** Lambda gives one CPU for each 1,769 MB. */
const memoryMiBPerCpu = 1769

/**
 * The sandbox's own kernel gets its share on top, so that a function can use all of its memory. Never less than one CPU: a start
 * would otherwise cost small functions seconds.
 */
export const instanceLimits = (memoryMiB: number, overheadMiB: number, pids: number): Limits => ({
  memoryMiB: memoryMiB + overheadMiB,
  cpus: Math.max(1, memoryMiB / memoryMiBPerCpu),
  pids,
})
