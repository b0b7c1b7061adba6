/** Percentiles of a histogram, as Prometheus's `histogram_quantile` estimates them: evenly spread within a bucket. Pure. */
export interface Bucket {
  /** Upper bound; the last is infinite. */
  readonly upTo: number
  /** Samples up to it, those of the buckets before included. */
  readonly count: number
}

/**
 * @param buckets by ascending bound
 * @returns in the unit of the bounds; the highest finite bound when the percentile lies beyond it; undefined without samples
 */
export const quantile = (buckets: readonly Bucket[], share: number): number | undefined => {
  const total = buckets.at(-1)?.count ?? 0
  if (total === 0) return undefined
  const rank = share * total
  const at = buckets.findIndex(({ count }) => count >= rank)
  const [bucket, before] = [buckets[at], buckets[at - 1] ?? { upTo: 0, count: 0 }]
  if (!bucket) return undefined
  if (bucket.upTo === Infinity) return before.upTo
  const within = bucket.count === before.count ? 1 : (rank - before.count) / (bucket.count - before.count)
  return before.upTo + (bucket.upTo - before.upTo) * within
}
