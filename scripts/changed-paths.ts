/** Whether a change could concern what only whole systems show: then CI runs `test:stacks` as well. */
import { repoRoot } from './setup/paths.ts'
import { run } from './setup/run.ts'

/** Stacks, what is put on hosts, how services begin, and the tests themselves. */
const concerning = [
  /^stacks\//,
  /^images\//,
  /^services\/[^/]+\/main\.ts$/,
  /^services\/chassis\//,
  /^scripts\/ci\//,
  /^test\/stacks\//,
]

export const concernsStacks = (paths: readonly string[]): boolean =>
  paths.some((path) => concerning.some((pattern) => pattern.test(path)))

/**
 * Compared with `base`, a commit; for a merge its first parent. Without a history nothing is known, so everything may have changed.
 */
export const stacksChanged = async (base = process.env['FORKYARD_CI_BASE'] || 'HEAD^1'): Promise<boolean> => {
  try {
    const text = await run('git', ['diff', '--name-only', base, 'HEAD'], { cwd: repoRoot })
    return concernsStacks(text.split('\n').filter(Boolean))
  } catch {
    return true
  }
}
