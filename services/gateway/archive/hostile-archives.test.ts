/**
 * Archives that try to get out of their directory or to fill the machine, on a real disk. The negative control is an extractor that believes
 * what an archive says: it is led out, and filled, by these very bytes.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { zip, type Entry } from '../testing/raw-zip.ts'
import { createImageBuilder } from './build-image.ts'
import { readArchive } from './read-archive.ts'

const limits = { unzippedBytes: 1024 * 1024, zipEntries: 100 }

let dir: string
/** Somebody else's, which must stay as it is. */
let canary: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fy-hostile-'))
  canary = join(dir, 'outside', 'canary')
  mkdirSync(dirname(canary))
  writeFileSync(canary, 'untouched')
})
afterEach(() => rmSync(dir, { recursive: true }))

/** Walks the zip's directory and believes it: names, modes, sizes. */
const entriesOf = (bytes: Buffer): { name: string; mode: number; data: Buffer; deflated: boolean }[] => {
  const entries = []
  for (let at = bytes.readUInt32LE(bytes.length - 6); bytes.readUInt32LE(at) === 0x02014b50;) {
    const [packed, nameLength, local] = [
      bytes.readUInt32LE(at + 20),
      bytes.readUInt16LE(at + 28),
      bytes.readUInt32LE(at + 42),
    ]
    const from = local + 30 + bytes.readUInt16LE(local + 26)
    entries.push({
      name: bytes.toString('utf8', at + 46, at + 46 + nameLength),
      mode: bytes.readUInt32LE(at + 38) >>> 16,
      data: bytes.subarray(from, from + packed),
      deflated: bytes.readUInt16LE(at + 10) === 8,
    })
    at += 46 + nameLength
  }
  return entries
}

const extractBelieving = (bytes: Buffer, root: string): void => {
  for (const { name, mode, data, deflated } of entriesOf(bytes)) {
    const path = resolve(root, name)
    mkdirSync(dirname(path), { recursive: true })
    if ((mode & 0o170000) === 0o120000) symlinkSync(data.toString(), path)
    else writeFileSync(path, deflated ? inflateRawSync(data) : data)
  }
}

const evil = Buffer.from('evil')
const hostile: [string, () => Entry[]][] = [
  ['a path that leads out', () => [{ name: '../../outside/canary', content: evil }]],
  ['a path that leads out in the middle', () => [{ name: 'a/../../../outside/canary', content: evil }]],
  ['an absolute path', () => [{ name: canary, content: evil }]],
  [
    'a symbolic link and then a file',
    () => [
      { name: 'link', mode: 0o120777, content: Buffer.from(canary) },
      { name: 'link', content: evil },
    ],
  ],
  [
    'a symbolic link to a directory and then a file below it',
    () => [
      { name: 'link', mode: 0o120777, content: Buffer.from(dirname(canary)) },
      { name: 'link/canary', content: evil },
    ],
  ],
]

describe.each(hostile)('an archive with %s', (_what, entries) => {
  it('is refused, and nothing is written outside of its staging or left in it', async () => {
    const staging = join(dir, 'staging')
    const builder = createImageBuilder(staging, limits)
    await builder.removeLeftovers()
    const built = builder.build(zip([{ name: 'index.js' }, ...entries()]), 'nodejs24.x', 'index.handler', async () => 0)
    await expect(built).rejects.toMatchObject({ code: 'INVALID_ARCHIVE' })
    expect(readFileSync(canary, 'utf8')).toBe('untouched')
    expect(readdirSync(dir).toSorted()).toEqual(['outside', 'staging'])
    expect(readdirSync(dirname(canary))).toEqual(['canary'])
    expect(readdirSync(staging)).toEqual([])
  })

  it('negative control: leads an extractor out that believes it', () => {
    const root = join(dir, 'staging', 'root')
    mkdirSync(root, { recursive: true })
    extractBelieving(zip([{ name: 'index.js' }, ...entries()]), root)
    expect(existsSync(join(root, 'index.js'))).toBe(true)
    expect(readFileSync(canary, 'utf8')).toBe('evil')
  })
})

describe('an archive that unpacks to a thousand times its size', () => {
  const bytes = zip([{ name: 'index.js', content: Buffer.alloc(64 * 1024 * 1024), deflate: true, size: 1000 }])
  const honest = zip([{ name: 'index.js', content: Buffer.alloc(64 * 1024 * 1024), deflate: true }])

  it.each([
    ['that lies about it', bytes, 'INVALID_ARCHIVE'],
    ['that says so', honest, 'CODE_TOO_LARGE'],
  ])('%s is stopped: no more than the limit comes out of it', async (_what, archive, code) => {
    let unpacked = 0
    const reading = readArchive(archive, limits, {
      directory: async () => undefined,
      file: async (_file, content) => {
        for await (const part of content) unpacked += part.length
      },
    })
    await expect(reading).rejects.toMatchObject({ code })
    expect(unpacked).toBeLessThanOrEqual(limits.unzippedBytes)
  })

  it('negative control: fills whoever believes it', () => {
    const [entry] = entriesOf(bytes)
    expect(bytes.length * 900).toBeLessThan(inflateRawSync(entry?.data ?? Buffer.alloc(0)).length)
  })
})

it('an archive that claims more entries than may be is refused before the first is read', async () => {
  // A million needs another format of zip, whose first sign is this number.
  const claimed = zip([{ name: 'index.js' }], 65_535)
  let visited = 0
  const reading = readArchive(claimed, limits, {
    directory: async () => void visited++,
    file: async () => void visited++,
  })
  await expect(reading).rejects.toMatchObject({ code: 'INVALID_ARCHIVE' })
  expect(visited).toBe(0)
  // Negative control: by a limit that lets so many pass, it is walked.
  await readArchive(
    claimed,
    { ...limits, zipEntries: 65_535 },
    { directory: async () => undefined, file: async () => void visited++ },
  ).catch(() => undefined)
  expect(visited).toBe(1)
})
