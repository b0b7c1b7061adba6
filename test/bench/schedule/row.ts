import type { Probed } from './process-probe.ts'

/** What is asked of the benchmark of schedulers, and what it tells. */
export interface ScheduleRow {
  readonly name: string
  readonly nodes: number
  readonly functions: number
  readonly keepAliveMs: number | null
  readonly offeredPerSecond: number
  readonly achievedPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
  readonly errorCodes?: Readonly<Record<string, number>>
  /** Of the scheduler; null where there is none. */
  readonly cpuSecondsPerMillion: number | null
  /** Placements that started an instance. */
  readonly startShare: number | null
  /** Of the wait, the part before the request was sent: its process stood still, or had no CPU. */
  readonly sentLateP99Ms?: number
  /** And the part from there to the answer. */
  readonly answeredP50Ms?: number
  readonly answeredP99Ms?: number
  readonly processes?: Readonly<Record<string, ProcessFigures>>
}

/** Of one process while it was measured. What its event loop did only of those of Node.js. */
export interface ProcessFigures extends Partial<Probed> {
  readonly cpuSecondsPerMillion: number
  /** 1: all of one CPU. */
  readonly cpus: number
  /** Share of the time in which its busiest thread was ready and others had the CPUs. */
  readonly waitedForCpuShare: number
}

export interface ScheduleScale {
  readonly nodes: number
  readonly functions: number
  /** Of each function: short, so that those that are called rarely are started again and again. */
  readonly keepAliveMs: number
}

/**
 * Per function. Twice as many functions are called half as often each: with twice the time as large a part of all calls finds an instance, and
 * only the number of functions and nodes is another one.
 */
const keepAliveMsPerFunction = 2

export const sameMix = (functions: number): number => functions * keepAliveMsPerFunction

export interface ScheduleInput {
  readonly perSecond: number
  readonly seconds: number
  readonly scales: readonly ScheduleScale[]
  /** With the work queue. */
  readonly reference: boolean
  readonly profileDir?: string | undefined
}

export const round = (value: number): number => Number(value.toFixed(3))
