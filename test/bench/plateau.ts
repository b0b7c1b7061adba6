/** Whether what a soak counted has stopped growing. */

/** What was counted after so many starts, by name. */
export type SoakRow = Readonly<Record<string, number>>

export interface Tolerance {
  /** Of everything that is counted: what is being made ahead or closed at that moment. */
  readonly count: number
  /** Of names that end with `MiB`: a share, and so much besides. Heaps grow until they are collected. */
  readonly memoryShare: number
  readonly memoryMiB: number
}

export const tolerance: Tolerance = { count: 4, memoryShare: 1 / 3, memoryMiB: 32 }

/** No measure of what is held. */
const progress = ['starts', 'others', 'failed starts', 'seeds ended']

/**
 * Pure. What the last row has more of than the first one after the warm-up (a quarter of the run), each as a sentence.
 * @param rows the first is from before the first start.
 */
export const leaksOf = (rows: readonly SoakRow[], allowed: Tolerance = tolerance): string[] => {
  const warm = rows[Math.max(1, Math.floor((rows.length - 1) / 4))] ?? {}
  const last = rows.at(-1) ?? {}
  return Object.entries(last).flatMap(([name, after]) => {
    if (progress.includes(name)) return []
    const before = warm[name] ?? 0
    const limit = name.endsWith('MiB')
      ? before * (1 + allowed.memoryShare) + allowed.memoryMiB
      : name === 'leftovers'
        ? 0
        : before + allowed.count
    return after > limit ? [`${name}: ${after} at the end, ${before} after the warm-up`] : []
  })
}
