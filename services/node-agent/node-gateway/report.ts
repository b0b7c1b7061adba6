/** The figures of an invocation that ended, and its waterfall relative to its arrival. */
import type { Phase } from '../../contracts/usage.ts'

const round = (ms: number): number => Math.round(ms * 1000) / 1000

export interface Timeline {
  /** All `performance.now()`. */
  readonly arrivedAt: number
  readonly pulledAt: number
  readonly endedAt: number
  /** The start that this invocation is the first of. */
  readonly start?: {
    readonly startedAt: number
    readonly assignedAt: number
    readonly readyAt: number
    readonly phases: readonly Phase[]
  }
}

/** A phase that began before the arrival counts from the arrival on: the caller did not wait for the rest. */
export const waterfall = ({ arrivedAt, pulledAt, endedAt, start }: Timeline): Phase[] => {
  const phase = (name: string, from: number, to: number): Phase => {
    const startMs = Math.max(0, from - arrivedAt)
    return { name, startMs: round(startMs), durationMs: round(Math.max(0, to - arrivedAt - startMs)) }
  }
  return [
    phase('queue', arrivedAt, pulledAt),
    ...(start?.phases ?? []).map(({ name, startMs, durationMs }) => {
      const from = (start?.startedAt ?? 0) + startMs
      return phase(name, from, from + durationMs)
    }),
    ...(start ? [phase('init', start.assignedAt, start.readyAt)] : []),
    phase('handler', pulledAt, endedAt),
  ]
}
