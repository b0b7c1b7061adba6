import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
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
  writeManifest(checkpointPath, { key: `key of ${name}`, files })
  const imageDigest = await fileDigest(imagePath)
  const checkpointDigest = await fileDigest(join(checkpointPath, 'manifest.json'))
  return {
    imagePath,
    imageDigest,
    checkpointPath,
    checkpointKey: `key of ${name}`,
    checkpointDigest,
    command: ['run'],
  }
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
  ['with another’s manifest', (path, other) => writeManifest(path, manifestOf(other)), /not the one that was made/],
  ['swapped with another, manifest and all', (path, other) => cpSync(other, path, { recursive: true }), /not the one/],
  [
    'of an earlier time, under the same key',
    (path) => {
      writeFileSync(join(path, 'pages.img'), 'pages.img of earlier')
      agree(path)
    },
    /not the one that was made/,
  ],
  [
    'with another’s digests under its own key',
    (path, other) => writeManifest(path, { ...manifestOf(other), key: 'key of node' }),
    /not the one that was made/,
  ],
  ['whose manifest names no files', (path) => writeManifest(path, { key: 'key of node', files: {} }), /not the one/],
  ['whose manifest is cut short', (path) => truncateSync(join(path, 'manifest.json'), 9), /not the one/],
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

test('negative control: what is refused for its manifest alone is used by whoever has that manifest’s digest', async () => {
  const runtime = await makeRuntime('node')
  writeFileSync(join(runtime.checkpointPath, 'pages.img'), 'pages.img of earlier')
  agree(runtime.checkpointPath)
  const checks = new RuntimeChecks(new FileDigests())
  await expect(checks.checkpoint(runtime)).rejects.toThrow('not the one that was made')
  const { checkpointDigest: _digest, ...unsigned } = runtime
  await expect(checks.checkpoint(unsigned)).rejects.toThrow('nobody vouches for its manifest')
  const checkpointDigest = await fileDigest(join(runtime.checkpointPath, 'manifest.json'))
  expect(await checks.checkpoint({ ...runtime, checkpointDigest })).toBe(runtime.checkpointPath)
})

test('whatever else is said of a checkpoint, its manifest says which it is of', async () => {
  const [runtime, other] = [await makeRuntime('node'), await makeRuntime('python')]
  const { checkpointPath, checkpointDigest } = other
  const checks = new RuntimeChecks(new FileDigests())
  await expect(checks.checkpoint({ ...runtime, checkpointPath, checkpointDigest })).rejects.toThrow(
    'another key: key of python',
  )
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

/** Makes the manifest say what the files are, as somebody would who changes both. */
const agree = (path: string): void => {
  const { key, files } = manifestOf(path)
  const digestOf = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(path, name)))
      .digest('hex')
  writeManifest(path, { key, files: Object.fromEntries(Object.keys(files).map((name) => [name, digestOf(name)])) })
}
