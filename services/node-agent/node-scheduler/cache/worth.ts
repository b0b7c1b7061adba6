/**
 * What it is worth to hold one more of something. The unit of every comparison is milliseconds of latency saved per MiB and second:
 * what is rare but dear and what is frequent but cheap are measured alike.
 */
import type { IdleTimes } from './history.ts'

/** What a MiB must save per second even when memory is plenty: holding for nothing is no option. */
export const floorPrice = 0.01
/** What is made ahead must be worth it within so long. */
export const horizonMs = 60_000
/** CPU spent ahead disturbs whoever runs now: it counts as so many milliseconds of latency each. */
export const cpuPrice = 0.1
export const longestKeepAliveMs = 3_600_000

/** One more unit that somebody would hold. */
export interface Offer {
  readonly memoryMiB: number
  /** Not yet booked as an instance. */
  readonly roomMiB: number
  readonly worth: number
  readonly take: () => void
}

export const worthOf = (savedMs: number, memoryMiB: number, heldMs: number): number =>
  savedMs <= 0 || heldMs <= 0 ? 0 : (savedMs * 1000) / (Math.max(1, memoryMiB) * heldMs)

export interface KeepAlive {
  readonly ms: number
  /** Probability that the next arrival comes within. */
  readonly hit: number
  readonly worth: number
}

/** A little longer than idle times so far: the next is not the same to the millisecond. */
const margin = 1.2
const steps = Array.from({ length: 12 }, (_, step) => 1000 * 2 ** step)
/** Of the idle times seen, so many stand for all. */
const quantiles = 16

/** The keep-alive with the highest profit: what is saved by the arrivals that come within, less the price of the memory held. */
export const bestKeepAlive = (times: IdleTimes, savedMs: number, memoryMiB: number, price: number): KeepAlive => {
  let best: KeepAlive = { ms: 0, hit: 0, worth: 0 }
  let highest = 0
  for (let at = 0; at < steps.length + quantiles; at++) {
    const candidate = steps[at] ?? times.quantileMs((at - steps.length + 1) / quantiles) * margin
    const ms = Math.ceil(Math.min(longestKeepAliveMs, candidate))
    const hit = 1 - times.survival(ms)
    const heldMs = times.expectedHoldMs(ms)
    const profit = savedMs * hit - (price * memoryMiB * heldMs) / 1000
    if (profit <= highest) continue
    highest = profit
    best = { ms, hit, worth: worthOf(savedMs * hit, memoryMiB, heldMs) }
  }
  return best
}
