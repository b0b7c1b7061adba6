/** Built files that the stack's state speaks of and that are gone: the cache may be deleted at any time. */
import { existsSync } from 'node:fs'

interface State {
  readonly checkpoint?: {
    readonly latest?: { readonly resources?: readonly { urn: string; outputs?: { stdout?: unknown } }[] }
  }
}

/** @returns URNs of the commands whose result names a path (`imagePath`, `addonPath`, ...) that does not exist. */
export const missingFiles = (stateText: string, exists: (path: string) => boolean = existsSync): string[] => {
  const resources = (JSON.parse(stateText) as State).checkpoint?.latest?.resources ?? []
  return resources.filter(({ outputs }) => pathsIn(outputs?.stdout).some((path) => !exists(path))).map(({ urn }) => urn)
}

const pathsIn = (stdout: unknown): string[] => {
  if (typeof stdout !== 'string' || !stdout.startsWith('{')) return []
  const result = JSON.parse(stdout) as Record<string, unknown>
  return Object.entries(result).flatMap(([key, value]) => (key.endsWith('Path') ? [String(value)] : []))
}
