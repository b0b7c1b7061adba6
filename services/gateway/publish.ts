/** Publishing: `$LATEST` as it is now becomes an immutable version, in the same write that names it. */
import { randomUUID } from 'node:crypto'
import { PlatformError } from '../contracts/errors.ts'
import type { FunctionRecord, VersionConfig } from '../contracts/function.ts'
import { sameContent } from './function-record.ts'
import type { Registry } from './registry.ts'

export interface Published {
  readonly record: FunctionRecord
  readonly version: VersionConfig
}

/**
 * Applies `change` and publishes what it makes. Unchanged since the last version: that one is the answer, as in AWS.
 * `change` may run several times; see `Registry.update`.
 */
export const changeAndPublish = async (
  registry: Registry,
  tenant: string,
  name: string,
  change: (record: FunctionRecord) => FunctionRecord,
  description?: string | null,
): Promise<Published> => {
  let stored: VersionConfig | undefined
  let version: VersionConfig | undefined
  const dropStored = async (): Promise<void> => {
    if (stored) await registry.dropVersion(tenant, name, Number(stored.version))
    stored = undefined
  }
  try {
    const record = await registry.update(tenant, name, async (before) => {
      await dropStored()
      const changed = change(before)
      const last = changed.versions.at(-1)
      const lastConfig = last === undefined ? undefined : registry.version(tenant, name, last)
      if (lastConfig && sameContent(lastConfig, changed.latest)) {
        version = lastConfig
        return changed
      }
      stored = await registry.addVersion(versionOf(changed, description))
      version = stored
      return withVersion(changed, stored)
    })
    if (!version) throw new Error('no version was published')
    return { record, version }
  } catch (error) {
    // Refused: no record names it. With any other error the write may have been done, and an orphan harms nobody.
    if (error instanceof PlatformError) await dropStored()
    throw error
  }
}

/** A revision of its own: instances of `$LATEST` never serve it. */
export const versionOf = (record: FunctionRecord, description?: string | null): VersionConfig => ({
  ...record.latest,
  version: String(record.nextVersion),
  revisionId: randomUUID(),
  description: description ?? record.latest.description,
})

export const withVersion = (record: FunctionRecord, version: VersionConfig): FunctionRecord => ({
  ...record,
  versions: [...record.versions, Number(version.version)],
  nextVersion: Number(version.version) + 1,
})
