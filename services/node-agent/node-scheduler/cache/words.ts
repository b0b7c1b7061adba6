/** Numbers as people read them. */
export const perCent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`

export const duration = (ms: number): string =>
  ms < 1000 ? `${Math.round(ms)} ms` : ms < 120_000 ? `${(ms / 1000).toFixed(1)} s` : `${(ms / 60_000).toFixed(1)} min`
