import { describe, expect, it } from 'vitest'
import { readArchive, type ArchiveFile } from './read-archive.ts'
import { checkHandler } from './handler-files.ts'
import { zip, type Entry } from '../testing/raw-zip.ts'

const limits = { unzippedBytes: 1024 * 1024, zipEntries: 100 }

const unpack = async (bytes: Buffer): Promise<{ files: Record<string, string>; seen: ArchiveFile[] }> => {
  const files: Record<string, string> = {}
  const seen = await readArchive(bytes, limits, {
    directory: async () => undefined,
    file: async ({ path }, content) => {
      const parts: Buffer[] = []
      for await (const part of content) parts.push(part)
      files[path] = Buffer.concat(parts).toString()
    },
  })
  return { files, seen }
}

describe('an archive', () => {
  it('gives its files, with clean paths and who may run them', async () => {
    const { files, seen } = await unpack(
      zip([
        { name: 'lib/', mode: 0o040755 },
        { name: './lib//a.js', content: Buffer.from('a'), deflate: true },
        { name: 'bootstrap', content: Buffer.from('b'), mode: 0o100755 },
      ]),
    )
    expect(files).toEqual({ 'lib/a.js': 'a', bootstrap: 'b' })
    expect(seen.map(({ executable }) => executable)).toEqual([false, true])
  })

  it.each<[string, Entry[]]>([
    ['a path that leads out', [{ name: '../evil.js' }]],
    ['a path that leads out in the middle', [{ name: 'a/../../evil.js' }]],
    ['an absolute path', [{ name: '/etc/passwd' }]],
    ['a drive', [{ name: 'C:/x' }]],
    ['a backslash', [{ name: '..\\evil.js' }]],
    ['a NUL in a name', [{ name: 'a\0.js' }]],
    ['a symbolic link', [{ name: 'link', mode: 0o120777, content: Buffer.from('/etc/passwd') }]],
    ['a symbolic link and a file below it', [{ name: 'link', mode: 0o120777 }, { name: 'link/x' }]],
    ['a device', [{ name: 'dev', mode: 0o020666 }]],
    ['a pipe', [{ name: 'pipe', mode: 0o010666 }]],
    ['a socket', [{ name: 'sock', mode: 0o140666 }]],
    ['a name twice', [{ name: 'a.js' }, { name: 'a.js' }]],
    ['a name twice, written differently', [{ name: 'd/a.js' }, { name: 'd/./a.js' }]],
    ['a file that is also a directory', [{ name: 'a' }, { name: 'a/b' }]],
    ['a directory that is also a file', [{ name: 'a/b' }, { name: 'a' }]],
    ['a wrong checksum', [{ name: 'a.js', crc: 1 }]],
    ['a size that is a lie', [{ name: 'a.js', content: Buffer.alloc(100), size: 10, deflate: true }]],
    ['an encrypted file', [{ name: 'a.js', flags: 0x801 }]],
    ['a name over its length', [{ name: 'x'.repeat(256) }]],
    ['a path over its depth', [{ name: 'd/'.repeat(65) + 'x' }]],
    ['no file at all', [{ name: 'd/', mode: 0o040755 }]],
  ])('is refused for %s', async (_case, entries) => {
    await expect(unpack(zip(entries))).rejects.toMatchObject({ code: 'INVALID_ARCHIVE' })
  })

  it.each([Buffer.alloc(0), Buffer.from('no zip'), Buffer.alloc(1000)])('is refused when it is none', async (bytes) => {
    await expect(unpack(bytes)).rejects.toMatchObject({ code: 'INVALID_ARCHIVE' })
  })

  it('is refused when it is cut short', async () => {
    const whole = zip([{ name: 'a.js', content: Buffer.alloc(10_000, 'a') }])
    for (const length of [10, 100, whole.length - 30, whole.length - 1])
      await expect(unpack(whole.subarray(0, length))).rejects.toMatchObject({ code: 'INVALID_ARCHIVE' })
  })

  it('takes names that differ in case alone: Linux tells them apart', async () => {
    const { files } = await unpack(
      zip([
        { name: 'A.js', content: Buffer.from('1') },
        { name: 'a.js', content: Buffer.from('2') },
      ]),
    )
    expect(files).toEqual({ 'A.js': '1', 'a.js': '2' })
  })
})

const bytes = (length: number) => [{ name: 'a', content: Buffer.alloc(length), deflate: true }]
const many = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `f${i}` }))
const file = (path: string, executable = false) => ({ path, executable })

describe('a bomb', () => {
  it('is stopped at the limit, to the byte', async () => {
    await expect(unpack(zip(bytes(limits.unzippedBytes)))).resolves.toBeDefined()
    await expect(unpack(zip(bytes(limits.unzippedBytes + 1)))).rejects.toMatchObject({
      code: 'CODE_TOO_LARGE',
      details: { limit: 'limits.unzippedBytes' },
    })
  })

  it('is stopped over all files together', async () => {
    const half = Array.from({ length: 3 }, (_, i) => ({ name: `f${i}`, content: Buffer.alloc(400_000), deflate: true }))
    await expect(unpack(zip(half))).rejects.toMatchObject({ code: 'CODE_TOO_LARGE' })
  })

  it('of entries is stopped at the limit, also when the directory lies about their number', async () => {
    await expect(unpack(zip(many(100)))).resolves.toBeDefined()
    await expect(unpack(zip(many(101)))).rejects.toMatchObject({ details: { limit: 'limits.zipEntries' } })
    await expect(unpack(zip(many(101), 60_000))).rejects.toMatchObject({ code: 'INVALID_ARCHIVE' })
  })
})

describe('the handler', () => {
  it('names a module that is there', () => {
    checkHandler('nodejs24.x', 'src/app.handler', [file('src/app.mjs')])
    expect(() => checkHandler('nodejs24.x', 'src/app.handler', [file('src/app.ts')])).toThrow('src/app.js')
    expect(() => checkHandler('nodejs24.x', 'app', [file('app.js')])).toThrow('file.export')
  })
  it('of Python is in a module or a package, with dots or slashes between the folders', () => {
    checkHandler('python3.11', 'lambda_function.lambda_handler', [file('lambda_function.py')])
    checkHandler('python3.11', 'a.b.handler', [file('a/b.py')])
    checkHandler('python3.11', 'a/b.handler', [file('a/b/__init__.py')])
    checkHandler('python3.11', 'b.handler', [file('b.pyc')])
    expect(() => checkHandler('python3.11', 'a.b.handler', [file('b.py')])).toThrow('a/b.py, a/b/__init__.py')
    for (const handler of ['app', '/app.handler', 'a..b.handler', '../app.handler'])
      expect(() => checkHandler('python3.11', handler, [file('app.py')])).toThrow('module.function')
  })
  it('of a custom runtime is an executable bootstrap', () => {
    checkHandler('provided.al2023', 'x', [file('bootstrap', true)])
    expect(() => checkHandler('provided.al2023', 'x', [file('bootstrap')])).toThrow('not executable')
    expect(() => checkHandler('provided.al2023', 'x', [file('a/bootstrap', true)])).toThrow('needs a file')
  })
})
