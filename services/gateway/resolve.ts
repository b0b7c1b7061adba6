/** Function and qualifier -> the version that answers this request. */
import { PlatformError } from '../contracts/errors.ts'
import { functionArn, latest, type FunctionRecord, type VersionConfig } from '../contracts/function.ts'
import { isLatest, isVersionNumber } from './function-name.ts'
import type { Registry } from './registry.ts'

/** An alias with weights sends the share `weights[v]` of requests to v and the rest to its own version. `random` in [0, 1). */
export const chooseVersion = (
  alias: { readonly functionVersion: string; readonly weights: Readonly<Record<string, number>> },
  random: number,
): string => {
  let left = random
  for (const [version, weight] of Object.entries(alias.weights)) {
    left -= weight
    if (left < 0) return version
  }
  return alias.functionVersion
}

/** @throws PlatformError NOT_FOUND naming the ARN that was asked for. */
export const resolveVersion = (
  registry: Registry,
  region: string,
  record: FunctionRecord,
  qualifier: string | undefined,
  random = Math.random(),
): VersionConfig => {
  if (qualifier === undefined || isLatest(qualifier)) return record.latest
  const alias = Object.hasOwn(record.aliases, qualifier) ? record.aliases[qualifier] : undefined
  const version = alias ? chooseVersion(alias, random) : qualifier
  if (version === latest) return record.latest
  const number = isVersionNumber(version) ? Number(version) : undefined
  const config =
    number !== undefined && record.versions.includes(number)
      ? registry.version(record.tenant, record.name, number)
      : undefined
  if (config) return config
  throw new PlatformError(
    'NOT_FOUND',
    `Function not found: ${functionArn(region, record.tenant, record.name, qualifier)}`,
  )
}
