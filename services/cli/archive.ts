/** The zip of a function. The same files give the same bytes, so that an unchanged deploy is seen as one. */
import { buffer } from 'node:stream/consumers'
import { ZipFile } from 'yazl'

export interface ArchiveFile {
  /** Relative, with `/`. */
  readonly path: string
  readonly content: Uint8Array
  readonly executable: boolean
}

/** Zip times have no zone: the fields of this date are written as they are, wherever the deploy runs. */
const mtime = new Date(1980, 0, 1)

export const packArchive = async (files: readonly ArchiveFile[]): Promise<Uint8Array> => {
  const zip = new ZipFile()
  for (const { path, content, executable } of files.toSorted((a, b) => (a.path < b.path ? -1 : 1)))
    zip.addBuffer(Buffer.from(content), path, {
      mtime,
      mode: executable ? 0o100755 : 0o100644,
      forceDosTimestamp: true,
    })
  zip.end()
  return buffer(zip.outputStream)
}
