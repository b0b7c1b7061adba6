/** Order statistics of a benchmark's samples. */

/** Nearest-rank percentile: the smallest sample that at least `share` (0..1) of all samples do not exceed. */
export const percentile = (samples: readonly number[] | Float64Array, share: number): number => {
  if (samples.length === 0) throw new Error('no samples')
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

export interface Summary {
  readonly name: string
  readonly n: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  /** To the reference's p50 and p99 of the same run. */
  readonly ratioP50: number
  readonly ratioP99: number
  /** Proportional set size of one more instance, MiB; null where nothing is kept. */
  readonly extraPssMiB: number | null
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits))

export const summarise = (
  name: string,
  samples: readonly number[],
  reference: readonly number[],
  extraPssMiB: number | null,
): Summary => {
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => percentile(samples, share)) as [number, number, number]
  return {
    name,
    n: samples.length,
    p50Ms: round(p50, 2),
    p90Ms: round(p90, 2),
    p99Ms: round(p99, 2),
    ratioP50: round(p50 / percentile(reference, 0.5), 4),
    ratioP99: round(p99 / percentile(reference, 0.99), 4),
    extraPssMiB: extraPssMiB === null ? null : round(extraPssMiB, 2),
  }
}
