import { expect, test } from 'vitest'
import { waterfallOf } from '../../bench/waterfall.ts'

test('the median of each phase, in the order in which they begin, and what no phase accounts for', () => {
  const answers = [1, 2, 9].map((ms) => ({
    tookMs: 20 + ms,
    serverTiming: `handler;dur=${ms};desc="@15", place;dur=3;desc="@1", start;desc="restore"`,
  }))
  expect(waterfallOf('restore', answers)).toEqual({ name: 'restore', phases: { place: 3, handler: 2 }, restMs: 5 })
})
