import { renameSync, writeFileSync } from 'node:fs'

/** Whole or not at all, for the owner alone. @param flush on the disk before it takes the other one's place: a power cut leaves one of the two */
export const writeWhole = (path: string, content: string, flush = false): void => {
  const partial = `${path}.partial`
  writeFileSync(partial, content, { mode: 0o600, flush })
  renameSync(partial, path)
}
