/** The code of a `Function`: what `forkyard deploy` would upload, told file by file. */
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { RuntimeName } from '../contracts/function.ts'
import { packArchive } from '../cli/archive.ts'
import { bundleFunction } from '../cli/bundle.ts'
import { CliError } from '../cli/cli-error.ts'
import { readProjectFile, type ProjectFile } from '../cli/project-file.ts'

export interface FunctionCode {
  readonly project: ProjectFile
  readonly runtime: RuntimeName
  readonly handler: string
  readonly zip: Uint8Array
  /** SHA-256 of the zip, base64, as the Lambda API tells it. */
  readonly codeSha256: string
  /** First 16 hex digits of the SHA-256 of each file in the zip, by path: for people, who see what changed. */
  readonly files: Readonly<Record<string, string>>
}

/**
 * @param path of a directory, or of one module; relative to the program's
 * @param given wins over `forkyard.json` in the directory
 * @throws CliError that names what is missing, or the errors of the build
 */
export const loadCode = async (path: string, given: ProjectFile): Promise<FunctionCode> => {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found) throw new CliError(`${path} does not exist (seen from ${process.cwd()})`)
  const directory = found.isDirectory() ? path : dirname(path)
  const project: ProjectFile = {
    ...readProjectFile(directory),
    ...given,
    ...(found.isDirectory() ? {} : { entry: basename(path) }),
  }
  const { runtime, handler, files } = await bundleFunction(directory, project)
  const zip = await packArchive(files)
  const digests = files.map((file): [string, string] => [file.path, digest(file.content, 'hex').slice(0, 16)])
  return { project, runtime, handler, zip, codeSha256: digest(zip, 'base64'), files: Object.fromEntries(digests) }
}

const digest = (bytes: Uint8Array, encoding: 'hex' | 'base64'): string =>
  createHash('sha256').update(bytes).digest(encoding)
