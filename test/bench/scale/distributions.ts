/** Random numbers of published shapes, each from a stream of uniform ones in [0, 1). */
export type Draw = () => number

export const exponential = (draw: Draw): number => -Math.log(1 - draw())

export const logNormal = (draw: Draw, mu: number, sigma: number): number => {
  const normal = Math.sqrt(2 * exponential(draw)) * Math.cos(2 * Math.PI * draw())
  return Math.exp(mu + sigma * normal)
}

/** Burr's distribution of type XII. */
export const burr = (draw: Draw, { c, k, scale }: Readonly<Record<'c' | 'k' | 'scale', number>>): number =>
  scale * ((1 - draw()) ** (-1 / k) - 1) ** (1 / c)

/**
 * Of mean 1 with this coefficient of variation: constant at 0, Erlang's distribution below 1 (hence only 1/sqrt(n)), from 1 on a mixture of
 * two exponential ones with balanced means.
 */
export const gap = (draw: Draw, cv: number): number => {
  if (cv === 0) return 1
  if (cv < 1) {
    const stages = Math.max(1, Math.round(1 / cv ** 2))
    let sum = 0
    for (let stage = 0; stage < stages; stage++) sum += exponential(draw)
    return sum / stages
  }
  const frequent = (1 + Math.sqrt((cv ** 2 - 1) / (cv ** 2 + 1))) / 2
  return exponential(draw) / (2 * (draw() < frequent ? frequent : 1 - frequent))
}

/** At a share in [0, 1], between given points in logarithms. @param points share and value, ascending */
export const between = (points: readonly (readonly [number, number])[], share: number): number => {
  const at = Math.max(
    1,
    points.findIndex(([end]) => share <= end),
  )
  const [[from, low], [to, high]] = [points[at - 1] ?? [0, 1], points[at] ?? [1, 1]]
  return low * (high / low) ** ((share - from) / (to - from))
}
