import { chmodSync, mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

const current = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** Whole or not at all; directories are made for the owner alone. @returns whether anything changed. */
export const writeFileIfChanged = (path: string, content: string, mode = 0o600): boolean => {
  if (current(path) === content) return false
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const partial = `${path}.partial`
  writeFileSync(partial, content, { mode })
  // A umask takes bits away.
  chmodSync(partial, mode)
  renameSync(partial, path)
  return true
}

/** With its directory, unless others have files there. */
export const removeFile = (path: string): void => {
  rmSync(path, { force: true })
  try {
    rmdirSync(dirname(path))
  } catch {
    // Not empty, or gone.
  }
}
