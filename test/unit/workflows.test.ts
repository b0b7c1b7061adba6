import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { repoRoot } from '../../scripts/setup/paths.ts'
import { workflowProblems } from '../support/workflow-rules.ts'

const dir = join(repoRoot, '.github', 'workflows')

const isScript = (path: string): boolean => {
  try {
    accessSync(join(repoRoot, path), constants.X_OK)
    return statSync(join(repoRoot, path)).isFile()
  } catch {
    return false
  }
}

const read = (file: string): string => readFileSync(join(dir, file), 'utf8')

it.each(readdirSync(dir))('%s keeps to the rules', (file) => {
  expect(workflowProblems(read(file), isScript)).toEqual([])
})

it('a change is previewed on a pull request, and brought up from main alone', () => {
  expect(read('pull-request.yml')).toContain('scripts/ci/stack preview')
  expect(read('pull-request.yml')).not.toContain('scripts/ci/stack up')
  expect(read('main.yml')).toMatch(/push:\n\s+branches: \[main\]/)
})

describe('the rules refuse', () => {
  const good = read('main.yml')
  it.each([
    ['an action by its tag', /@[0-9a-f]{40}/, '@v7', /is not pinned by a commit/],
    [
      'a script that does not exist',
      'scripts/ci/stack up',
      'scripts/ci/other up',
      /there is no script scripts\/ci\/other/,
    ],
    ['shell in a step', 'up "$STACK"', 'up "$STACK" && curl x', /more than one script/],
    ['text of others in a command', '"$STACK"', '${{ github.head_ref }}', /more than one script/],
    ['no permissions', /^permissions:\n {2}contents: read\n/m, '', /no permissions are set/],
    ['a right to write', 'contents: read\n\njobs', 'contents: write\n\njobs', /permission contents: write/],
    ['up without approval', /^ {4}environment: .*$/m, '', /which nobody approves/],
    ['up without tests', '    needs: tests\n', '', /does not wait for the tests/],
    ['up that may be cut off', 'cancel-in-progress: false', 'cancel-in-progress: true', /may be cut off/],
    ['a checkout that keeps its token', 'persist-credentials: false', 'fetch-depth: 1', /keeps its token/],
    ['no time limit', /^ {4}timeout-minutes: .*$/m, '', /no time limit/],
    ['secrets for foreign code', 'on:\n  push:', 'on:\n  pull_request_target:\n  push:', /foreign code/],
  ] as const)('%s', (_, from, to, problem) => {
    const bad = good.replace(from, () => to)
    expect(bad).not.toBe(good)
    expect(workflowProblems(bad, isScript).join('\n')).toMatch(problem)
  })
})
