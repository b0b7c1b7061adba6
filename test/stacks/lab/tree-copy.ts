/** A copy of this tree, to be changed by a test: another commit of the project, as far as the engine can tell. */
import { existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { repoRoot } from '../../../scripts/setup/paths.ts'
import { run } from '../../../scripts/setup/run.ts'

export interface TreeCopy {
  readonly dir: string
  /** @throws Error when the file does not hold `from` */
  readonly change: (file: string, from: string | RegExp, to: string) => void
}

/** What git would commit; the npm packages are those of this tree. @param dir does not exist yet */
export const copyTree = async (dir: string): Promise<TreeCopy> => {
  const list = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: repoRoot })
  for (const file of list.split('\0').filter((name) => name !== '' && existsSync(join(repoRoot, name)))) {
    mkdirSync(join(dir, dirname(file)), { recursive: true })
    await copyFile(join(repoRoot, file), join(dir, file))
  }
  symlinkSync(realpathSync(join(repoRoot, 'node_modules')), join(dir, 'node_modules'))
  const change: TreeCopy['change'] = (file, from, to) => {
    const before = readFileSync(join(dir, file), 'utf8')
    const after = before.replace(from, () => to)
    if (after === before) throw new Error(`${file} does not hold ${String(from)}`)
    writeFileSync(join(dir, file), after)
  }
  return { dir, change }
}
