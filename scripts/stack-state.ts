/** What the stack's state tells beforehand about the next run of the engine. */
import { existsSync } from 'node:fs'
import { damagedFile } from '../services/node-agent/checkpoint/manifest.ts'

interface Deployment {
  readonly resources?: readonly {
    urn: string
    protect?: boolean
    outputs?: { stdout?: unknown; create?: unknown }
  }[]
  readonly pending_operations?: readonly unknown[]
}

interface State {
  /** In a backend of files. */
  readonly checkpoint?: { readonly latest?: Deployment }
  /** As `pulumi stack export` prints it. */
  readonly deployment?: Deployment
}

const deploymentOf = (stateText: string): Deployment => {
  const { checkpoint, deployment } = JSON.parse(stateText) as State
  return checkpoint?.latest ?? deployment ?? {}
}

/** Whether the last engine ended, by force, in the middle of something. */
export const wasInterrupted = (stateText: string): boolean =>
  (deploymentOf(stateText).pending_operations ?? []).length > 0

/** @returns names of what the last update protected from deletion */
export const protectedNames = (stateText: string): string[] =>
  (deploymentOf(stateText).resources ?? []).flatMap(({ urn, protect }) =>
    protect ? [urn.split('::').at(-1) ?? urn] : [],
  )

/**
 * Built files may be gone: the cache may be deleted at any time.
 * @returns URNs of the commands whose result names a path (`imagePath`, `addonPath`, ...) that does not exist.
 */
export const missingFiles = (stateText: string, exists: (path: string) => boolean = existsSync): string[] => {
  const resources = deploymentOf(stateText).resources ?? []
  return resources
    .filter(({ outputs }) => !isElsewhere(outputs?.create))
    .filter(({ outputs }) => pathsIn(outputs?.stdout).some((path) => !exists(path)))
    .map(({ urn }) => urn)
}

/** @returns URNs of the commands whose result is a checkpoint that is there, and not as it was made. */
export const damagedCheckpoints = async (stateText: string): Promise<string[]> => {
  const found = (deploymentOf(stateText).resources ?? []).map(async ({ urn, outputs }) => {
    if (isElsewhere(outputs?.create)) return []
    const { checkpointPath, key, digest } = resultIn(outputs?.stdout)
    if (typeof checkpointPath !== 'string' || typeof key !== 'string' || !existsSync(checkpointPath)) return []
    const expected = { key, digest: typeof digest === 'string' ? digest : undefined }
    return (await damagedFile(checkpointPath, expected)) === undefined ? [] : [urn]
  })
  return (await Promise.all(found)).flat()
}

/** Paths of other machines say nothing about this one. */
const isElsewhere = (create: unknown): boolean => typeof create === 'string' && create.includes('/stacks/ssh/')

const resultIn = (stdout: unknown): Record<string, unknown> =>
  typeof stdout === 'string' && stdout.startsWith('{') ? (JSON.parse(stdout) as Record<string, unknown>) : {}

const pathsIn = (stdout: unknown): string[] =>
  Object.entries(resultIn(stdout)).flatMap(([key, value]) => (key.endsWith('Path') ? [String(value)] : []))
