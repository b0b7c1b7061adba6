import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { fileDigest } from '../../services/node-agent/file-digests.ts'
import { bundlePaths, openBundle } from './node-bundle.ts'

let dir: string
const put = (path: string, text: string): string => {
  const file = join(dir, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  return file
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'node-bundle-'))
  const files = { [bundlePaths.runsc]: await fileDigest(put(bundlePaths.runsc, 'runsc')) }
  const manifest = { version: '1.0.0', runtimes: [], checkpointInputs: '0'.repeat(64), files }
  put(bundlePaths.manifest, JSON.stringify(manifest))
})
afterEach(() => rmSync(dir, { recursive: true }))

it('a bundle is opened as it was packed', async () => {
  expect(await openBundle(dir)).toMatchObject({ version: '1.0.0' })
})

it('one with a file that is another, or missing, is not', async () => {
  put(bundlePaths.runsc, 'runsC')
  await expect(openBundle(dir)).rejects.toThrow('bin/runsc is not what was packed')
  rmSync(join(dir, bundlePaths.runsc))
  await expect(openBundle(dir)).rejects.toThrow('bin/runsc is not what was packed')
})
