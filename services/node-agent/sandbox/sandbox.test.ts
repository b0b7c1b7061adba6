import { expect, test } from 'vitest'
import { explainExit } from './sandbox.ts'

const nothing = { oomKills: 0, refusedPids: 0, peakMiB: 10, limitMiB: 100 }
const exit = { reason: 'exit', detail: 'the sandbox was killed' } as const

test('an exit without evidence is what it seems', () => {
  expect(explainExit(exit, nothing)).toEqual(exit)
})

test('the kernel’s kills for lack of memory are why, whatever was seen first', () => {
  const found = explainExit({ reason: 'timeout', detail: 'late' }, { ...nothing, oomKills: 2, peakMiB: 100 })
  expect(found).toEqual({ reason: 'out-of-memory', detail: 'memory limit 100 MiB, peak 100 MiB, kernel kills 2' })
})

test('refused processes explain an exit, and no other end', () => {
  expect(explainExit(exit, { ...nothing, refusedPids: 3 })).toEqual({
    reason: 'exit',
    detail: 'the sandbox was killed: 3 processes or threads over the limit were refused',
  })
  const timeout = { reason: 'timeout', detail: 'late' } as const
  expect(explainExit(timeout, { ...nothing, refusedPids: 3 })).toEqual(timeout)
})
