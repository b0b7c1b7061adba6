/** A directory with what components read of the repository and of the cache, for the tests of one file. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { toolPath } from '../../scripts/setup/paths.ts'

const write = (path: string, text: string): void => {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

/** @param entries directories whose `main.ts` is bundled */
export const scratchRepo = (name: string, entries: readonly string[]) => {
  const base = mkdtempSync(join(tmpdir(), `forkyard-${name}-`))
  const repoRoot = join(base, 'repo')
  const cacheDir = join(base, 'cache')
  beforeAll(() => {
    for (const entry of entries) write(join(repoRoot, entry, 'main.ts'), `console.log('${entry}')`)
    for (const tool of ['runsc', 'nats-server'] as const) write(toolPath(tool, cacheDir), tool)
    write(join(base, 'addon.node'), 'addon')
  })
  afterAll(() => rmSync(base, { recursive: true }))
  return { base, repoRoot, cacheDir }
}
