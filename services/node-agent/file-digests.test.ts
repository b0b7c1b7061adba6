import { mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fileDigest, FileDigests } from './file-digests.ts'

let dir = ''
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'forkyard-digests-'))))
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test.each<[string, (file: string) => void]>([
  ['other bytes of the same length', (file) => writeFileSync(file, 'hellO')],
  ['a truncation', (file) => truncateSync(file, 2)],
  [
    'other bytes under the old times',
    (file) => {
      writeFileSync(file, 'hellO')
      utimesSync(file, 1, 1)
    },
  ],
])('%s are noticed', async (_what, damage) => {
  const file = join(dir, 'file')
  writeFileSync(file, 'hello')
  utimesSync(file, 1, 1)
  const digests = new FileDigests()
  const before = await digests.of(file)
  expect(before).toBe(await fileDigest(file))
  expect(await digests.of(file)).toBe(before)
  // Change times of some file systems and kernels are this coarse.
  await delay(20)
  damage(file)
  expect(await digests.of(file)).toBe(await fileDigest(file))
  expect(await digests.of(file)).not.toBe(before)
})

test('a file that is not there has none', async () => {
  expect(await new FileDigests().of(join(dir, 'none'))).toBe(undefined)
})
