import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseServerTiming, renderWaterfall } from './waterfall.ts'

const bars = (text: string) => [...text.matchAll(/\|(.*)\|/g)].map(([, bar]) => bar ?? '')

describe('parseServerTiming', () => {
  it('reads durations, offsets and facts', () => {
    expect(parseServerTiming('start;desc="restore", place;dur=0.4;desc="@1.5"')).toEqual([
      { name: 'start', durationMs: undefined, startMs: undefined, description: 'restore' },
      { name: 'place', durationMs: 0.4, startMs: 1.5, description: '@1.5' },
    ])
  })

  it('does not split inside quotes', () => {
    expect(parseServerTiming('a;desc="x, \\"y\\"; z";dur=1')).toEqual([
      { name: 'a', durationMs: 1, startMs: undefined, description: 'x, "y"; z' },
    ])
  })
})

describe('renderWaterfall', () => {
  it('draws phases at their offsets', () => {
    expect(
      renderWaterfall('start;desc="restore", place;dur=25;desc="@0", restore;dur=50;desc="@25", run;dur=25;desc="@75"'),
    ).toBe(
      [
        'start: restore, 100.0 ms in all',
        `place        25.0 ms  |${'#'.repeat(10)}${' '.repeat(30)}|`,
        `restore      50.0 ms  |${' '.repeat(10)}${'#'.repeat(20)}${' '.repeat(10)}|`,
        `run          25.0 ms  |${' '.repeat(30)}${'#'.repeat(10)}|`,
      ].join('\n'),
    )
  })

  it('puts phases without an offset one after the other', () => {
    const [first, second] = bars(renderWaterfall('a;dur=30, b;dur=10'))
    expect(first).toBe(`${'#'.repeat(30)}${' '.repeat(10)}`)
    expect(second).toBe(`${' '.repeat(30)}${'#'.repeat(10)}`)
  })

  it('says only the facts when there are no phases', () => {
    expect(renderWaterfall('start;desc="warm"')).toBe('start: warm')
    expect(renderWaterfall('')).toBe('')
  })

  it('for any phases keeps every bar visible and inside the frame', () => {
    const time = fc.double({ min: 0, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(fc.array(fc.tuple(time, time), { minLength: 1 }), (phases) => {
        const drawn = bars(renderWaterfall(phases.map(([at, dur], i) => `p${i};dur=${dur};desc="@${at}"`).join(', ')))
        expect(drawn).toHaveLength(phases.length)
        for (const bar of drawn) expect(bar).toMatch(/^(?=.{40}$) *#+ *$/)
      }),
    )
  })

  it('draws phases that are too short to be measured', () => {
    expect(bars(renderWaterfall('a;dur=5e-324;desc="@0", b;dur=0;desc="@5e-324"'))).toEqual([
      '#'.repeat(40),
      `${' '.repeat(39)}#`,
    ])
  })

  it('never throws, whatever the header holds', () => {
    fc.assert(fc.property(fc.string(), (header) => void renderWaterfall(header)))
  })
})
