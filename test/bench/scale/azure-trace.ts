/**
 * Applications as Azure Functions had them in July 2019, regenerated from what was published of them: M. Shahrad et al., "Serverless in the
 * Wild", USENIX ATC 2020. What is of the paper and what is assumed: docs/scale.md.
 */
import { drawing } from '../../support/cache-replay.ts'
import { between, burr, gap, logNormal, type Draw } from './distributions.ts'

export interface App {
  readonly name: string
  /** Invocations a day, on average. */
  readonly perDay: number
  /** Of the times between arrivals. */
  readonly cv: number
  /** Average execution time. */
  readonly meanMs: number
  /** What an instance holds. */
  readonly usedMiB: number
  /** What an instance is booked with. */
  readonly sizeMiB: number
}

export interface TraceShape {
  readonly seed: number
  readonly functions: number
  /** Of the most popular application: the trace is scaled down by it. */
  readonly mostPerDay: number
}

const dayMs = 86_400_000
/** Section 3.3: 45 % of the applications are invoked once an hour or less, 81 % once a minute or less. The ends are assumed. */
const popularity = (mostPerDay: number) =>
  [
    [0, 0.1],
    [0.45, 24],
    [0.81, 1440],
    [1, Math.max(1441, mostPerDay)],
  ] as const
/** Section 3.4, seconds; section 3.5, MiB. */
const execution = { mu: -0.38, sigma: 2.36 }
const memory = { c: 11.652, k: 0.221, scale: 107.083 }
/** Section 3.3: 40 % have a coefficient of variation above 1. The rest of the shape is assumed. */
const [clockShare, burstyShare] = [0.2, 0.4]
/** Assumed: one execution's time around the application's average, and the longest there is. */
const executionSpread = 0.5
const longestMs = 600_000
const clockJitterMs = 1_000
const sizesMiB = [128, 256, 512, 1024, 2048, 4096, 10_240] as const

export const appsOf = ({ seed, functions, mostPerDay }: TraceShape): App[] => {
  const draw = drawing(seed)
  const points = popularity(mostPerDay)
  return Array.from({ length: functions }, (_, at) => {
    const usedMiB = Math.min(sizesMiB.at(-1) ?? 0, burr(draw, memory))
    return {
      name: `app-${at}`,
      perDay: between(points, (at + 0.5) / functions),
      cv: variation(draw),
      meanMs: Math.min(longestMs, 1000 * logNormal(draw, execution.mu, execution.sigma)),
      usedMiB,
      sizeMiB: sizesMiB.find((size) => size >= usedMiB) ?? 10_240,
    }
  })
}

const variation = (draw: Draw): number => {
  const kind = draw()
  if (kind < clockShare) return 0
  return kind < 1 - burstyShare ? 0.3 + 0.7 * draw() : 10 ** draw()
}

/** One application's invocations: the same for every policy, whatever else happens. */
export class Arrivals {
  readonly #app: App
  readonly #draw: Draw
  #atMs: number

  constructor(app: App, seed: number) {
    this.#app = app
    this.#draw = drawing(seed)
    this.#atMs = -this.#draw() * this.#gapMs()
    while (this.#atMs < 0) this.#atMs += this.#gapMs()
  }

  next(): { readonly atMs: number; readonly durationMs: number } {
    const { cv, meanMs } = this.#app
    const gapMs = this.#gapMs()
    const jitterMs = cv === 0 ? this.#draw() * Math.min(clockJitterMs, gapMs / 2) : 0
    const atMs = Math.floor(this.#atMs + jitterMs)
    this.#atMs += gapMs
    const around = logNormal(this.#draw, -(executionSpread ** 2) / 2, executionSpread)
    return { atMs, durationMs: Math.max(1, Math.round(Math.min(longestMs, meanMs * around))) }
  }

  #gapMs(): number {
    return (dayMs / this.#app.perDay) * gap(this.#draw, this.#app.cv)
  }
}
