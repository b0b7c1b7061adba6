/** Open-loop arrivals: a request comes when its time has come, whatever became of the others; its wait is counted from that time. */
import { setTimeout as delay } from 'node:timers/promises'

export interface LoadInput {
  readonly perSecond: number
  readonly seconds: number
  /** Called once per arrival. @param at `performance.now()` at which it was due */
  readonly arrive: (at: number) => void
}

/** Exponential gaps, so that arrivals come together as they do in life. */
export const generateLoad = async ({ perSecond, seconds, arrive }: LoadInput): Promise<void> => {
  const meanGapMs = 1000 / perSecond
  const from = performance.now()
  const until = from + seconds * 1000
  let next = from
  while (next < until) {
    const now = performance.now()
    while (next <= now && next < until) {
      arrive(next)
      next += -Math.log(1 - Math.random()) * meanGapMs
    }
    await delay(1)
  }
}

/** Draws 0..count-1 by Zipf's law: a few functions have most of the requests, most have a few. */
export const zipf = (count: number): (() => number) => {
  const sums: number[] = []
  let sum = 0
  for (let rank = 1; rank <= count; rank++) sums.push((sum += 1 / rank))
  return () => {
    const wanted = Math.random() * sum
    let [low, high] = [0, count - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sums[middle] ?? 0) < wanted) low = middle + 1
      else high = middle
    }
    return low
  }
}
