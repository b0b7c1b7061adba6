/**
 * Walks a zip and gives out its regular files; everything that could lead out of the target directory, lie about its size, or
 * exhaust the machine is refused with a typed error that names entry and limit.
 */
import type { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import { fromBufferPromise, type Entry, type ZipFile } from 'yauzl'
import { PlatformError } from '../../contracts/errors.ts'

export interface ArchiveLimits {
  readonly unzippedBytes: number
  readonly zipEntries: number
}

export interface ArchiveFile {
  /** Relative, `/`-separated, without `.` and empty parts. */
  readonly path: string
  readonly executable: boolean
}

export interface ArchiveVisitor {
  directory(path: string): Promise<void>
  /** `content` yields the real bytes; a lie about size or checksum is thrown from it. */
  file(file: ArchiveFile, content: AsyncIterable<Buffer>): Promise<void>
}

const maxPathBytes = 1024
const maxNameBytes = 255
const maxDepth = 64
const typeMask = 0o170000
const regularType = 0o100000
const directoryType = 0o040000
const unixHosts = new Set([3, 19])

const invalid = (message: string, details?: Record<string, unknown>, cause?: unknown): PlatformError =>
  new PlatformError('INVALID_ARCHIVE', `Could not unzip uploaded file: ${message}`, details, { cause })

/** Without `visitor` only the directory of the zip is checked. @returns the files, in the zip's order. */
export const readArchive = async (
  zip: Buffer,
  limits: ArchiveLimits,
  visitor?: ArchiveVisitor,
): Promise<ArchiveFile[]> => {
  const archive = await open(zip)
  const seen = new Seen()
  const files: ArchiveFile[] = []
  const budget = { left: limits.unzippedBytes, limit: limits.unzippedBytes }
  try {
    if (archive.entryCount > limits.zipEntries) throw tooMany(limits)
    let entries = 0
    for await (const entry of walk(archive)) {
      if (++entries > limits.zipEntries) throw tooMany(limits)
      const path = safePath(entry)
      const kind = kindOf(entry)
      if (kind === 'directory') {
        seen.addDirectory(path, entry.fileName)
        if (path !== '') await visitor?.directory(path)
        continue
      }
      if (path === '') throw invalid(`entry '${shown(entry.fileName)}' has no name`)
      seen.addFile(path, entry.fileName)
      const file = { path, executable: isExecutable(entry) }
      files.push(file)
      await visitor?.file(file, content(archive, entry, budget))
    }
    if (files.length === 0) throw invalid('the archive holds no file')
    return files
  } finally {
    archive.close()
  }
}

const open = async (zip: Buffer): Promise<ZipFile> => {
  try {
    return await fromBufferPromise(zip, { lazyEntries: true, strictFileNames: true, validateEntrySizes: true })
  } catch (error) {
    throw invalid(messageOf(error), undefined, error)
  }
}

async function* walk(archive: ZipFile): AsyncGenerator<Entry> {
  try {
    yield* archive.eachEntry()
  } catch (error) {
    throw error instanceof PlatformError ? error : invalid(messageOf(error), undefined, error)
  }
}

async function* content(
  archive: ZipFile,
  entry: Entry,
  budget: { left: number; limit: number },
): AsyncGenerator<Buffer> {
  const name = shown(entry.fileName)
  if (entry.isEncrypted()) throw invalid(`entry '${name}' is encrypted`)
  let stream: Readable | undefined
  let checksum = 0
  try {
    stream = await archive.openReadStreamPromise(entry)
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      budget.left -= chunk.length
      if (budget.left < 0)
        throw new PlatformError('CODE_TOO_LARGE', `Unzipped size must be smaller than ${budget.limit} bytes`, {
          limit: 'limits.unzippedBytes',
          bytes: budget.limit,
          entry: name,
        })
      checksum = crc32(chunk, checksum)
      yield chunk
    }
  } catch (error) {
    throw error instanceof PlatformError
      ? error
      : invalid(`entry '${name}': ${messageOf(error)}`, { entry: name }, error)
  } finally {
    stream?.destroy()
  }
  if (checksum !== entry.crc32) throw invalid(`entry '${name}' does not have its checksum`, { entry: name })
}

/** yauzl has refused absolute names, `..` and backslashes by now; nothing here relies on it. */
const safePath = (entry: Entry): string => {
  const name = entry.fileName
  const refuse = (problem: string): PlatformError =>
    invalid(`entry '${shown(name)}' ${problem}`, { entry: shown(name), problem })
  if (name.includes('\0')) throw refuse('has a NUL in its name')
  if (name.includes('\\')) throw refuse('has a backslash in its name')
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name)) throw refuse('has an absolute path')
  const parts = name.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) throw refuse("leads out of the archive with '..'")
  if (parts.length > maxDepth) throw refuse(`is deeper than ${maxDepth} directories`)
  if (Buffer.byteLength(name) > maxPathBytes) throw refuse(`has a path over ${maxPathBytes} bytes`)
  if (parts.some((part) => Buffer.byteLength(part) > maxNameBytes))
    throw refuse(`has a name over ${maxNameBytes} bytes`)
  return parts.join('/')
}

const modeOf = (entry: Entry): number => entry.externalFileAttributes >>> 16

const kindOf = (entry: Entry): 'file' | 'directory' => {
  const type = modeOf(entry) & typeMask
  if (type !== 0 && type !== regularType && type !== directoryType)
    throw invalid(`entry '${shown(entry.fileName)}' is a link or device; only files and directories are taken`, {
      entry: shown(entry.fileName),
    })
  return type === directoryType || entry.fileName.endsWith('/') ? 'directory' : 'file'
}

const isExecutable = (entry: Entry): boolean =>
  unixHosts.has(entry.versionMadeBy >>> 8) && (modeOf(entry) & 0o111) !== 0

/** Each name once, and no name both a file and a directory. */
class Seen {
  readonly #files = new Set<string>()
  readonly #directories = new Set<string>()

  addFile(path: string, name: string): void {
    if (this.#files.has(path)) throw invalid(`entry '${shown(name)}' is there twice`, { entry: shown(name) })
    if (this.#directories.has(path)) throw invalid(`entry '${shown(name)}' is both file and directory`)
    this.#files.add(path)
    this.addDirectory(path.slice(0, Math.max(0, path.lastIndexOf('/'))), name)
  }

  addDirectory(path: string, name: string): void {
    for (let at = path; at !== '' && !this.#directories.has(at); at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) {
      if (this.#files.has(at)) throw invalid(`entry '${shown(name)}' is below '${shown(at)}', which is a file`)
      this.#directories.add(at)
    }
  }
}

const tooMany = ({ zipEntries }: ArchiveLimits): PlatformError =>
  new PlatformError('INVALID_ARCHIVE', `The archive has more than ${zipEntries} entries`, {
    limit: 'limits.zipEntries',
    entries: zipEntries,
  })

// eslint-disable-next-line no-control-regex -- names come from strangers and go into logs and terminals
const shown = (name: string): string => name.slice(0, 200).replaceAll(/[\u0000-\u001f\u007f]/g, '?')
const messageOf = (error: unknown): string => (error instanceof Error ? shown(error.message) : 'unreadable')
