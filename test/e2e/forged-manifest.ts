/** A checkpoint as somebody would leave it who can write there: its manifest agrees with its files, whatever these are. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeManifest } from '../../services/node-agent/checkpoint/manifest.ts'

/** @param more told in the manifest: nobody reads it, and the manifest is another one. @returns the manifest's digest */
export const forgeManifest = (directory: string, more: Readonly<Record<string, string>> = {}): Promise<string> => {
  const manifest = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as { key: string }
  const { files: _files, ...about } = { files: undefined, ...manifest }
  return writeManifest(directory, { ...about, ...more })
}
