/** Zip -> EROFS image: unpacked into a directory of its own, which is gone again on every path. */
import { createHash, randomUUID } from 'node:crypto'
import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { chmod, mkdir, open, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { PlatformError } from '../../contracts/errors.ts'
import type { RuntimeName } from '../../contracts/function.ts'
import { checkHandler } from './handler-files.ts'
import { readArchive, type ArchiveLimits } from './read-archive.ts'
import { Turns } from './turns.ts'

export interface BuiltImage {
  readonly file: string
  /** Lower-case hex SHA-256 of the image. The same zip gives the same digest. */
  readonly digest: string
}

export interface ImageBuilder {
  /**
   * Calls `use` with the image; the image is gone when it returns.
   * @throws PlatformError INVALID_ARCHIVE, CODE_TOO_LARGE, INVALID_REQUEST (handler), STORAGE_FULL.
   */
  build<T>(zip: Buffer, runtime: RuntimeName, handler: string, use: (image: BuiltImage) => Promise<T>): Promise<T>
  /** What an earlier run left. */
  removeLeftovers(): Promise<void>
}

const run = promisify(execFile)
const mkfsTimeoutMs = 120_000

export const createImageBuilder = (stagingDir: string, limits: ArchiveLimits, parallel = 2): ImageBuilder => {
  const turns = new Turns(parallel)
  return {
    removeLeftovers: async () => {
      await rm(stagingDir, { recursive: true, force: true })
      await mkdir(stagingDir, { recursive: true, mode: 0o700 })
    },
    build: (zip, runtime, handler, use) =>
      turns.take(async () => {
        const staging = join(stagingDir, randomUUID())
        const root = join(staging, 'root')
        const file = join(staging, 'image.erofs')
        try {
          await mkdir(root, { recursive: true })
          await unpack(zip, root, limits, (files) => checkHandler(runtime, handler, files))
          await makeErofs(root, file)
          return await use({ file, digest: await digestOf(file) })
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
            throw new PlatformError('STORAGE_FULL', 'no space left to unpack the archive', undefined, { cause: error })
          throw error
        } finally {
          await rm(staging, { recursive: true, force: true })
        }
      }),
  }
}

type Files = Awaited<ReturnType<typeof readArchive>>

/** Modes are 0755 or 0644 whatever the zip says: functions run as any user and must be able to read their code. */
const unpack = async (
  zip: Buffer,
  root: string,
  limits: ArchiveLimits,
  check: (files: Files) => void,
): Promise<void> => {
  // The directory first: a wrong handler costs no unpacking.
  check(await readArchive(zip, limits))
  const made = new Set<string>([root])
  const makeDirectory = async (path: string): Promise<void> => {
    if (made.has(path)) return
    await makeDirectory(dirname(path))
    await mkdir(path, { recursive: true })
    await chmod(path, 0o755)
    made.add(path)
  }
  await chmod(root, 0o755)
  await readArchive(zip, limits, {
    directory: (path) => makeDirectory(join(root, path)),
    file: async ({ path, executable }, content) => {
      const target = join(root, path)
      await makeDirectory(dirname(target))
      // `wx` follows no link and overwrites nothing.
      const handle = await open(target, 'wx', 0o600)
      try {
        for await (const chunk of content) await handle.writeFile(chunk)
        await handle.chmod(executable ? 0o755 : 0o644)
      } finally {
        await handle.close()
      }
    },
  })
}

/** Nothing of time, user or machine goes into the image. Uncompressed: gVisor maps it as it is. */
const makeErofs = async (root: string, file: string): Promise<void> => {
  const uuid = '00000000-0000-4000-8000-000000000000'
  const options = ['-E', 'noinline_data', '-T', '0', '-U', uuid, '--all-root', '--quiet', '-x', '-1', file, root]
  try {
    await run('mkfs.erofs', options, { timeout: mkfsTimeoutMs, maxBuffer: 1 << 20 })
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string }
    if (/no space left/i.test(stderr ?? ''))
      throw new PlatformError('STORAGE_FULL', 'no space left to build the code image', undefined, { cause: error })
    throw new Error(`mkfs.erofs ended with ${String(code)}: ${(stderr ?? '').slice(-500)}`, { cause: error })
  }
  if ((await stat(file)).size === 0) throw new Error('mkfs.erofs made an empty image')
}

const digestOf = async (file: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}
