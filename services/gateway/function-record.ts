/** Pure changes of what the registry holds about a function. */
import { randomUUID } from 'node:crypto'
import { PlatformError } from '../contracts/errors.ts'
import { latest, type FunctionRecord, type RuntimeName, type VersionConfig } from '../contracts/function.ts'
import { policyFromTags, secretNamesFromTags } from './policy-tags.ts'

export interface Code {
  readonly codeSha256: string
  readonly codeSize: number
  readonly zipDigest: string
  readonly imageDigest: string
}

export interface Settings {
  readonly runtime: RuntimeName
  readonly handler: string
  readonly description: string
  readonly role: string
  readonly memoryMiB: number
  readonly timeoutMs: number
  readonly ephemeralStorageMiB: number
  readonly environment: Readonly<Record<string, string>>
}

export const newRecord = (
  tenant: string,
  name: string,
  nextVersion: number,
  settings: Settings,
  code: Code,
  tags: Readonly<Record<string, string>>,
): FunctionRecord => ({
  tenant,
  name,
  latest: stamp({
    tenant,
    name,
    version: latest,
    revisionId: '',
    lastModified: '',
    policy: policyFromTags(tags),
    secretNames: secretNamesFromTags(tags),
    ...settings,
    environment: { ...settings.environment },
    ...code,
  }),
  versions: [],
  nextVersion,
  aliases: {},
  urls: {},
  tags: { ...tags },
  eventInvoke: { ...defaultEventInvoke },
})

export const defaultEventInvoke = { maximumRetryAttempts: 2, maximumEventAgeMs: 21_600_000 } as const

/** A new revision: instances of the one before never serve it. */
export const stamp = (config: VersionConfig): VersionConfig => ({
  ...config,
  revisionId: randomUUID(),
  lastModified: lambdaTime(new Date()),
})

export const lambdaTime = (at: Date): string => at.toISOString().replace('Z', '+0000')

/** Tags that set the instance policy or name secrets make a new revision of `$LATEST`; others do not touch it. */
export const withTags = (record: FunctionRecord, tags: Readonly<Record<string, string>>): FunctionRecord => {
  if (Object.keys(tags).length > 50) throw new PlatformError('INVALID_REQUEST', 'a function has at most 50 tags')
  const policy = policyFromTags(tags)
  const secretNames = secretNamesFromTags(tags)
  const { latest: before } = record
  const same =
    canonical(policy) === canonical(before.policy) && secretNames.join() === (before.secretNames ?? []).join()
  return { ...record, tags: { ...tags }, latest: same ? before : stamp({ ...before, policy, secretNames }) }
}

/** @throws PlatformError REVISION_MISMATCH */
export const guardRevision = (actual: string, expected: string | undefined): void => {
  if (expected !== undefined && expected !== actual)
    throw new PlatformError(
      'REVISION_MISMATCH',
      'The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id',
    )
}

const identity = new Set(['version', 'revisionId', 'lastModified', 'description'])

/** Has code or configuration changed between a version and `$LATEST`? */
export const sameContent = (a: VersionConfig, b: VersionConfig): boolean =>
  (Object.keys(a) as (keyof VersionConfig)[]).every(
    (key) => identity.has(key) || canonical(a[key]) === canonical(b[key]),
  )

const canonical = (value: unknown): string =>
  typeof value === 'object' && value !== null
    ? JSON.stringify(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : JSON.stringify(value)
