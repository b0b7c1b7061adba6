/** Pure changes of a function's aliases. */
import { randomUUID } from 'node:crypto'
import { PlatformError } from '../contracts/errors.ts'
import { functionArn, latest, type AliasRecord, type FunctionRecord } from '../contracts/function.ts'

export interface AliasChange {
  readonly functionVersion?: string | undefined
  readonly description?: string | undefined
  /** An empty one removes all weights. */
  readonly weights?: Readonly<Record<string, number>> | undefined
}

const invalid = (message: string): PlatformError => new PlatformError('INVALID_REQUEST', message)

/** @throws PlatformError NOT_FOUND */
export const aliasOf = (record: FunctionRecord, name: string, region: string): AliasRecord => {
  const alias = Object.hasOwn(record.aliases, name) ? record.aliases[name] : undefined
  if (alias) return alias
  throw new PlatformError(
    'NOT_FOUND',
    `Cannot find alias arn: ${functionArn(region, record.tenant, record.name, name)}`,
  )
}

/** @throws PlatformError NOT_FOUND for a version that is not there; INVALID_REQUEST for weights that make no sense. */
export const withAlias = (
  record: FunctionRecord,
  name: string,
  before: AliasRecord | undefined,
  change: AliasChange,
  region: string,
): FunctionRecord => {
  const alias: AliasRecord = {
    name,
    functionVersion: change.functionVersion ?? before?.functionVersion ?? latest,
    description: change.description ?? before?.description ?? '',
    weights: { ...(change.weights ?? before?.weights) },
    revisionId: randomUUID(),
  }
  requireVersion(record, alias.functionVersion, region)
  checkWeights(record, alias, region)
  if (alias.functionVersion === latest && Object.hasOwn(record.provisioned ?? {}, name))
    throw invalid('Provisioned Concurrency Configs cannot be applied to unpublished function versions.')
  return { ...record, aliases: { ...record.aliases, [name]: alias } }
}

/** The alias, and what was configured for it. */
export const withoutAlias = (record: FunctionRecord, name: string): FunctionRecord => {
  if (!Object.hasOwn(record.aliases, name)) return record
  const { [name]: _alias, ...aliases } = record.aliases
  const { [name]: _url, ...urls } = record.urls
  const { [name]: _config, ...eventInvokeConfigs } = record.eventInvokeConfigs ?? {}
  const { [name]: _policy, ...policies } = record.policies ?? {}
  return { ...withoutProvisioned(record, name), aliases, urls, eventInvokeConfigs, policies }
}

/** Nothing is provisioned for the qualifier any more. */
export const withoutProvisioned = (record: FunctionRecord, qualifier: string): FunctionRecord => {
  const { provisioned, ...rest } = record
  if (!provisioned || !Object.hasOwn(provisioned, qualifier)) return record
  const { [qualifier]: _gone, ...left } = provisioned
  return Object.keys(left).length > 0 ? { ...rest, provisioned: left } : rest
}

const requireVersion = (record: FunctionRecord, version: string, region: string): void => {
  if (version === latest || record.versions.includes(Number(version))) return
  throw new PlatformError(
    'NOT_FOUND',
    `Function not found: ${functionArn(region, record.tenant, record.name, version)}`,
  )
}

const checkWeights = (record: FunctionRecord, { functionVersion, weights }: AliasRecord, region: string): void => {
  const entries = Object.entries(weights)
  if (entries.length === 0) return
  if (functionVersion === latest) throw invalid('$LATEST is not supported for an alias pointing to more than 1 version')
  if (entries.reduce((sum, [, weight]) => sum + weight, 0) > 1)
    throw invalid('The weights of AdditionalVersionWeights must not exceed 1 together')
  for (const [version] of entries) {
    if (!/^[1-9]\d{0,9}$/.test(version))
      throw invalid(`'${version.slice(0, 64)}' in AdditionalVersionWeights is no version number`)
    if (version === functionVersion)
      throw invalid(
        `Invalid function version ${version}. Function version ${version} is already included in routing configuration.`,
      )
    requireVersion(record, version, region)
  }
}
