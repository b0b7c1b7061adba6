import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fileDigest, FileDigests } from './file-digests.ts'
import { RuntimeChecks } from './runtime-checks.ts'

const logger = pino({ level: 'silent' })
let dir = ''
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'forkyard-checks-'))))
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const makeRuntime = async (name: string) => {
  const imagePath = join(dir, `${name}.erofs`)
  writeFileSync(imagePath, `image of ${name}`)
  const checkpointPath = join(dir, name)
  mkdirSync(checkpointPath)
  const files: Record<string, string> = {}
  for (const file of ['checkpoint.img', 'pages_meta.img', 'pages.img']) {
    writeFileSync(join(checkpointPath, file), `${file} of ${name}`)
    files[file] = await fileDigest(join(checkpointPath, file))
  }
  writeFileSync(join(checkpointPath, 'manifest.json'), JSON.stringify({ key: `key of ${name}`, files }))
  const imageDigest = await fileDigest(imagePath)
  return { imagePath, imageDigest, checkpointPath, checkpointKey: `key of ${name}`, command: ['run'] }
}

const manifestOf = (path: string) =>
  JSON.parse(readFileSync(join(path, 'manifest.json'), 'utf8')) as { key: string; files: Record<string, string> }

test('a whole runtime is used with its checkpoint', async () => {
  const runtime = await makeRuntime('node')
  const checks = new RuntimeChecks(new FileDigests())
  expect(await checks.usable({ runtimes: { 'nodejs24.x': runtime } }, logger)).toEqual({ 'nodejs24.x': runtime })
  expect(await checks.checkpoint(runtime)).toBe(runtime.checkpointPath)
  await checks.image('nodejs24.x', runtime)
})

test.each<[string, (path: string, other: string) => void, RegExp]>([
  ['with a truncated file', (path) => truncateSync(join(path, 'pages.img'), 3), /damaged: pages\.img/],
  ['with a missing file', (path) => rmSync(join(path, 'pages_meta.img')), /damaged: pages_meta\.img/],
  ['with another’s manifest', (path, other) => writeManifest(path, manifestOf(other)), /another key: key of python/],
  [
    'with another’s digests under its own key',
    (path, other) => writeManifest(path, { ...manifestOf(other), key: 'key of node' }),
    /damaged/,
  ],
  ['whose manifest names no files', (path) => writeManifest(path, { key: 'key of node', files: {} }), /./],
  ['whose manifest is cut short', (path) => truncateSync(join(path, 'manifest.json'), 9), /JSON/],
  ['without a manifest', (path) => rmSync(join(path, 'manifest.json')), /ENOENT/],
])('a checkpoint %s is refused at the start, and at a use after the start', async (_what, damage, problem) => {
  const [runtime, other] = [await makeRuntime('node'), await makeRuntime('python')]
  const running = new RuntimeChecks(new FileDigests())
  await running.usable({ runtimes: { 'nodejs24.x': runtime } }, logger)
  damage(runtime.checkpointPath, other.checkpointPath)
  await expect(running.checkpoint(runtime)).rejects.toThrow(problem)
  const usable = await new RuntimeChecks(new FileDigests()).usable({ runtimes: { 'nodejs24.x': runtime } }, logger)
  expect(usable['nodejs24.x']).toMatchObject({ imagePath: runtime.imagePath })
  expect(usable['nodejs24.x']?.checkpointPath).toBe(undefined)
})

test('a damaged image is refused by name, and is no reason not to start', async () => {
  const runtime = await makeRuntime('node')
  writeFileSync(runtime.imagePath, 'imagE of node')
  const checks = new RuntimeChecks(new FileDigests())
  expect(Object.keys(await checks.usable({ runtimes: { 'nodejs24.x': runtime } }, logger))).toEqual(['nodejs24.x'])
  await expect(checks.image('nodejs24.x', runtime)).rejects.toMatchObject({
    code: 'NO_CAPACITY',
    message: expect.stringContaining('nodejs24.x: its image does not have its digest') as string,
  })
})

const writeManifest = (path: string, manifest: unknown): void =>
  writeFileSync(join(path, 'manifest.json'), JSON.stringify(manifest))
