/** What the `check` of host scripts says: a line on stdout for each thing that is not as it was made. Never what a file holds. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const read = (path: string): Buffer | undefined => {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

export const fileDrift = (path: string, content: string): string[] => {
  const found = read(path)
  if (!found) return [`${path} is not there`]
  return found.equals(Buffer.from(content)) ? [] : [`${path} is another file`]
}

/** @param digest the first digits of its SHA-256 */
export const digestDrift = (path: string, digest: string): string[] => {
  const found = read(path)
  if (!found) return [`${path} is not there`]
  return createHash('sha256').update(found).digest('hex').startsWith(digest) ? [] : [`${path} is another file`]
}

export const sayDrift = (lines: readonly string[]): void => {
  for (const line of lines) process.stdout.write(`${line}\n`)
}
