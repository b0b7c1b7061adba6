/** What vitest's JSON reporter says, and what it means for the run. */
import { existsSync, readFileSync } from 'node:fs'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'

const Report = Type.Object({
  success: Type.Boolean(),
  numTotalTests: Type.Integer(),
  numPassedTests: Type.Integer(),
  numFailedTests: Type.Integer(),
  numPendingTests: Type.Integer(),
  numTodoTests: Type.Integer(),
})
type Report = Static<typeof Report>

export interface Totals {
  readonly passed: number
  /** Tests, and checks that are no tests. */
  readonly failed: number
  readonly skipped: number
}

/** @throws Error when there is no report, or one of a run without a single test. */
export const readTotals = (file: string): Totals => {
  if (!existsSync(file)) throw new Error('vitest ended without a report')
  const report: Report = Value.Parse(Report, JSON.parse(readFileSync(file, 'utf8')))
  if (report.numPassedTests + report.numFailedTests === 0) throw new Error('no test was run')
  // A file that cannot be loaded, or an error outside of all tests, is counted by vitest as no test at all.
  const failed = report.success ? report.numFailedTests : Math.max(1, report.numFailedTests)
  return { passed: report.numPassedTests, failed, skipped: report.numPendingTests + report.numTodoTests }
}

export const addTotals = (all: readonly Totals[]): Totals => ({
  passed: all.reduce((sum, { passed }) => sum + passed, 0),
  failed: all.reduce((sum, { failed }) => sum + failed, 0),
  skipped: all.reduce((sum, { skipped }) => sum + skipped, 0),
})

export const summaryLine = ({ passed, failed, skipped }: Totals): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
