/**
 * `manifest.json` in a checkpoint's directory: what it is a checkpoint of, and the digest of every other file. What does not have its
 * digest, or is another's, is never used.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { fileDigest } from '../file-digests.ts'

export const manifestName = 'manifest.json'

/** In a bare runtime's checkpoint: what it has on `/var/task`, over which the function's code is mounted. */
export const emptyCodeName = 'code.erofs'

/** What gVisor reads of every checkpoint. */
const required = ['checkpoint.img', 'pages_meta.img', 'pages.img']

const CheckpointManifest = Type.Object({
  /** What this is a checkpoint of, and what can restore it (key.ts). */
  key: Type.String(),
  /** SHA-256 (lower-case hex) by file name. */
  files: Type.Record(Type.String(), Type.String({ pattern: '^[0-9a-f]{64}$' })),
})

/** Call when the directory is complete. */
export const writeManifest = async (
  directory: string,
  about: Readonly<Record<string, unknown>> & { readonly key: string },
): Promise<void> => {
  const names = readdirSync(directory).filter((name) => name !== manifestName)
  const entries = names.sort().map(async (name) => [name, await fileDigest(join(directory, name))] as const)
  const files = Object.fromEntries(await Promise.all(entries))
  writeFileSync(join(directory, manifestName), `${JSON.stringify({ ...about, files })}\n`)
}

/** @throws when it is missing or none. */
export const readManifest = (directory: string): unknown =>
  JSON.parse(readFileSync(join(directory, manifestName), 'utf8'))

/**
 * Why the directory cannot be used as the checkpoint of the key: it is another's, a file is missing or not what it was, or the
 * manifest's own problem. @param digestOf undefined when there is no such file
 */
export const damagedFile = async (
  directory: string,
  key: string,
  digestOf: (path: string) => Promise<string | undefined> = fileDigest,
): Promise<string | undefined> => {
  try {
    const { key: found, files } = Value.Parse(CheckpointManifest, readManifest(directory))
    if (found !== key) return `it is that of another key: ${found}`
    const unnamed = required.find((name) => !(name in files))
    if (unnamed !== undefined) return `${unnamed} is not in its manifest`
    for (const [name, digest] of Object.entries(files))
      if ((await digestOf(join(directory, name))) !== digest) return `${name} is not what it was`
    return undefined
  } catch (error) {
    return String(error)
  }
}
