/** `manifest.json` in a checkpoint's directory: the digest of every other file. What does not have its digest is never used. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { fileDigest } from '../node-scheduler/code-images.ts'

export const manifestName = 'manifest.json'

/** In a bare runtime's checkpoint: what it has on `/var/task`, over which the function's code is mounted. */
export const emptyCodeName = 'code.erofs'

export const CheckpointManifest = Type.Object({
  /** SHA-256 (lower-case hex) by file name. */
  files: Type.Record(Type.String(), Type.String()),
})

/** Call when the directory is complete. */
export const writeManifest = async (directory: string, more: Readonly<Record<string, unknown>> = {}): Promise<void> => {
  const names = readdirSync(directory).filter((name) => name !== manifestName)
  const entries = names.sort().map(async (name) => [name, await fileDigest(join(directory, name))] as const)
  const files = Object.fromEntries(await Promise.all(entries))
  writeFileSync(join(directory, manifestName), `${JSON.stringify({ ...more, files })}\n`)
}

/** @throws when it is missing or none. */
export const readManifest = (directory: string): unknown =>
  JSON.parse(readFileSync(join(directory, manifestName), 'utf8'))

/** What is wrong with the directory: a file that is not what it was, or is missing; or the manifest's own problem. */
export const damagedFile = async (directory: string): Promise<string | undefined> => {
  try {
    const manifest = Value.Parse(CheckpointManifest, readManifest(directory))
    for (const [name, digest] of Object.entries(manifest.files))
      if ((await fileDigest(join(directory, name))) !== digest) return name
    return undefined
  } catch (error) {
    return String(error)
  }
}
