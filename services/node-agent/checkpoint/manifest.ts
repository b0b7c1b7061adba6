/**
 * `manifest.json` in a checkpoint's directory: what it is a checkpoint of, and the digest of every other file. Whoever uses it knows the
 * manifest's own digest from elsewhere: of a runtime's from the agent's configuration, of a version's from the node's index
 * (`checkpoint-index.ts`). What does not have its digest, or is another's, is never used.
 */
import { createHash } from 'node:crypto'
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

/** What must be in a checkpoint's directory. */
export interface Expected {
  readonly key: string
  /** SHA-256 of the manifest, lower-case hex. Undefined: nobody vouches for it. */
  readonly digest: string | undefined
}

const digestOfBytes = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex')

/** Call when the directory is complete. @returns the manifest's digest */
export const writeManifest = async (
  directory: string,
  about: Readonly<Record<string, unknown>> & { readonly key: string },
): Promise<string> => {
  const names = readdirSync(directory).filter((name) => name !== manifestName)
  const entries = names.sort().map(async (name) => [name, await fileDigest(join(directory, name))] as const)
  const files = Object.fromEntries(await Promise.all(entries))
  const text = `${JSON.stringify({ ...about, files })}\n`
  writeFileSync(join(directory, manifestName), text)
  return digestOfBytes(text)
}

/** @throws when it is missing, or not the one with this digest. */
export const readManifest = (directory: string, digest: string | undefined): unknown => {
  const bytes = readFileSync(join(directory, manifestName))
  if (digest === undefined) throw new Error('nobody vouches for its manifest')
  if (digestOfBytes(bytes) !== digest) throw new Error('its manifest is not the one that was made')
  return JSON.parse(bytes.toString('utf8'))
}

/**
 * Why the directory cannot be used as this checkpoint: it is another's, or of another time, a file is missing or not what it was, or the
 * manifest's own problem. @param digestOf undefined when there is no such file
 */
export const damagedFile = async (
  directory: string,
  { key, digest }: Expected,
  digestOf: (path: string) => Promise<string | undefined> = fileDigest,
): Promise<string | undefined> => {
  try {
    const { key: found, files } = Value.Parse(CheckpointManifest, readManifest(directory, digest))
    if (found !== key) return `it is that of another key: ${found}`
    const unnamed = required.find((name) => !(name in files))
    if (unnamed !== undefined) return `${unnamed} is not in its manifest`
    for (const [name, wanted] of Object.entries(files))
      if ((await digestOf(join(directory, name))) !== wanted) return `${name} is not what it was`
    return undefined
  } catch (error) {
    return String(error)
  }
}
