/**
 * `./scripts/test`: format, lint, types and unit tests side by side with the set-up, then the end-to-end tests on a scratch
 * stack. `--stacks`: what `npm run test:stacks` runs, too, if the change may concern it; the part on a cluster of Kubernetes only where its
 * tools are there already, because they take long to build, or with `--kubernetes`; without that, all of it only while it will be over within 90 minutes. Everything is run even when something failed before. The
 * last line is `N passed, N failed[, N skipped]`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ownerVariable } from '../stacks/host-scripts/processes.ts'
import { stacksChanged } from './changed-paths.ts'
import { describeFailure, runLanes, type Step } from './progress.ts'
import { removeAbandonedStacks } from './scratch-stack.ts'
import { repoRoot } from './setup/paths.ts'
import { prepareMachine } from './setup/prepare.ts'
import { missingTools } from './setup/tools.ts'
import { CommandError, run } from './setup/run.ts'
import { removeAbandonedFleets } from '../test/e2e/faults/fleet-place.ts'
import { removeAbandonedLabs } from '../test/stacks/lab/abandoned.ts'
import { removeAbandonedDirs } from '../test/stacks/lab/claimed-dir.ts'
import { addTotals, readTotals, summaryLine, type Totals } from './test-report.ts'

const { values } = parseArgs({ options: { stacks: { type: 'boolean' }, kubernetes: { type: 'boolean' } } })

/** What this run starts is found by this, should the run be killed. */
process.env[ownerVariable] = `test-${process.pid}`

const minutes = 60_000
/** Of the process's time: CI allows 90 minutes, and the end needs a moment. The tests of stacks begin only when enough of it is left. */
const endWithin = 87 * minutes
const beginStacksWithin = 45 * minutes
const clusterTools = ['kubernetes', 'kubernetes-lab'] as const
const reports = mkdtempSync(join(tmpdir(), 'forkyard-test-'))
const counted: Totals[] = []
const failures: { readonly title: string; readonly text: string }[] = []

/** Kept for the end; the run goes on. */
const fail = (title: string, error: unknown, totals: Totals = { passed: 0, failed: 1, skipped: 0 }): Error => {
  const text =
    error instanceof CommandError ? `${error.message.split('\n')[0]}\n${error.output.trimEnd()}` : String(error)
  failures.push({ title, text })
  counted.push(totals)
  return new Error('see below')
}

const check = (title: string, script: string, timeoutMs: number): Step => ({
  title,
  run: (onLine) =>
    run('npm', ['run', '--silent', script], { cwd: repoRoot, onLine, timeoutMs }).then(
      () => undefined,
      (error: unknown) => {
        throw fail(title, error)
      },
    ),
})

const tests = (title: string, project: string, timeoutMs: number, without: readonly string[] = []): Step => ({
  title,
  run: async (onLine) => {
    const file = join(reports, `${project}.json`)
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
    const excluded = without.flatMap((file) => ['--exclude', file])
    const args = ['run', '--project', project, ...excluded, ...reporters]
    const ended = await run('vitest', args, { cwd: repoRoot, onLine, timeoutMs }).catch((error: Error) => error)
    const failed = ended instanceof Error ? ended : undefined
    let totals: Totals
    try {
      totals = readTotals(file)
    } catch (error) {
      throw fail(title, failed ?? error)
    }
    if (failed) throw fail(title, failed, { ...totals, failed: Math.max(1, totals.failed) })
    counted.push(totals)
    return summaryLine(totals)
  },
})

const checks: Step[] = [
  check('Format', 'format:check', 5 * minutes),
  check('Lint', 'lint', 10 * minutes),
  check('Types', 'types', 10 * minutes),
  tests('Unit tests', 'unit', 15 * minutes),
]

/** What even a killed run must not leave. */
const sweep: Step = {
  title: 'Leftovers of runs that were killed',
  run: async (report) => {
    await removeAbandonedFleets()
    await removeAbandonedDirs()
    await removeAbandonedStacks(report)
  },
}

const sweepLabs: Step = {
  title: 'Hosts and installations of runs that were killed',
  run: async () => {
    await removeAbandonedLabs()
    await removeAbandonedDirs()
  },
}

try {
  const withStacks = values.stacks === true && (await stacksChanged())
  const inCluster = withStacks && (values.kubernetes === true || missingTools(clusterTools).length === 0)
  await prepareMachine([{ title: 'Checks', steps: checks, goOn: true }], ['test', ...(inCluster ? clusterTools : [])])
  const steps = [tests('End-to-end tests', 'e2e', 50 * minutes), sweep]
  await runLanes([{ title: 'Scratch stack', steps, goOn: true }])
  const isLate = values.kubernetes !== true && performance.now() > beginStacksWithin
  if (withStacks && !isLate) {
    const without = inCluster ? [] : ['test/stacks/kubernetes*.test.ts']
    const limitMs = values.kubernetes === true ? 90 * minutes : Math.floor(endWithin - performance.now())
    const onHosts = [tests('Tests of stacks', 'stacks', limitMs, without), sweepLabs]
    await runLanes([{ title: 'Hosts', steps: onHosts, goOn: true }])
  }
  if (withStacks && (isLate || !inCluster))
    process.stdout.write(
      `\nNot run: the tests ${isLate ? 'of stacks' : 'on a cluster of Kubernetes'} (scripts/test --stacks --kubernetes)\n`,
    )
} catch (error) {
  fail('Set-up', describeFailure(error))
}
rmSync(reports, { recursive: true, force: true })
for (const { title, text } of failures) process.stdout.write(`\n=== ${title} ===\n${text}\n`)
const totals = addTotals(counted)
process.stdout.write(`\n${summaryLine(totals)}\n`)
process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0
