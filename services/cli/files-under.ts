/** Files of a project's directory, as they go into an archive. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, posix, sep } from 'node:path'
import type { ArchiveFile } from './archive.ts'
import { CliError } from './cli-error.ts'

/**
 * @param skip names that are left out wherever they are.
 * @throws CliError for what is neither a file nor a directory.
 */
export const filesUnder = async (
  directory: string,
  below: string,
  skip: ReadonlySet<string> = new Set(),
): Promise<ArchiveFile[]> => {
  const lists = await Promise.all(
    (await readdir(join(directory, below), { withFileTypes: true })).map(async (entry) => {
      const path = join(below, entry.name)
      if (entry.name === '.git' || skip.has(entry.name)) return []
      if (entry.isDirectory()) return filesUnder(directory, path, skip)
      if (entry.isFile()) return [await readOne(directory, path)]
      throw new CliError(`${path} is neither a file nor a directory: links and devices do not go into an archive`)
    }),
  )
  return lists.flat()
}

export const readOne = async (directory: string, path: string): Promise<ArchiveFile> => ({
  path: path.split(sep).join(posix.sep),
  content: await readFile(join(directory, path)),
  executable: ((await stat(join(directory, path))).mode & 0o111) !== 0,
})
