import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { addTotals, readTotals, summaryLine } from './test-report.ts'

const dir = mkdtempSync(join(tmpdir(), 'forkyard-report-'))
const file = join(dir, 'report.json')
afterAll(() => rmSync(dir, { recursive: true }))
const read = (report: Record<string, unknown>) => {
  const none = {
    success: true,
    numTotalTests: 0,
    numPassedTests: 0,
    numFailedTests: 0,
    numPendingTests: 0,
    numTodoTests: 0,
  }
  writeFileSync(file, JSON.stringify({ ...none, ...report }))
  return readTotals(file)
}

it('counts passed, failed and skipped', () => {
  const report = {
    success: false,
    numTotalTests: 6,
    numPassedTests: 3,
    numFailedTests: 1,
    numPendingTests: 1,
    numTodoTests: 1,
  }
  expect(read(report)).toEqual({ passed: 3, failed: 1, skipped: 2 })
})

it('a file that does not load fails the run, though no test failed', () => {
  expect(read({ success: false, numPassedTests: 3 }).failed).toBe(1)
})

it('a run without tests is a failure', () => {
  expect(() => read({})).toThrow('no test was run')
  expect(() => read({ numTotalTests: 2, numPendingTests: 2 })).toThrow('no test was run')
})

it('so is a run without a report', () => {
  expect(() => readTotals(join(dir, 'none.json'))).toThrow('without a report')
})

it('the last line has the agreed form', () => {
  const some = { passed: 2, failed: 0, skipped: 0 }
  expect(summaryLine(addTotals([some, some]))).toBe('4 passed, 0 failed')
  expect(summaryLine(addTotals([some, { passed: 0, failed: 1, skipped: 3 }]))).toBe('2 passed, 1 failed, 3 skipped')
})
