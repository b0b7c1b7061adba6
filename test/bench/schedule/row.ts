/** What is asked of the benchmark of schedulers, and what it tells. */
export interface ScheduleRow {
  readonly name: string
  readonly nodes: number
  readonly functions: number
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
}

export interface ScheduleInput {
  readonly perSecond: number
  readonly seconds: number
  readonly scales: readonly { readonly nodes: number; readonly functions: number }[]
  readonly profileDir?: string | undefined
}

export const round = (value: number): number => Number(value.toFixed(3))
