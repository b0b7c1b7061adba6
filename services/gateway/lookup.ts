/** What an operation is about: the caller's function under the name that was given. */
import { PlatformError } from '../contracts/errors.ts'
import { functionArn, type FunctionRecord, type VersionConfig } from '../contracts/function.ts'
import type { GatewayDeps } from './deps.ts'
import { parseFunctionName } from './function-name.ts'
import type { Registry } from './registry.ts'
import { resolveVersion } from './resolve.ts'

export interface Target {
  readonly tenant: string
  readonly name: string
  readonly qualifier: string | undefined
}

export const targetOf = (
  { config }: Pick<GatewayDeps, 'config'>,
  tenant: string,
  functionName: string,
  qualifier?: string,
): Target => ({ tenant, ...parseFunctionName(functionName, config.region, tenant, qualifier) })

/** For operations on the function as a whole. @throws PlatformError INVALID_REQUEST when a qualifier is given */
export const unqualified = (deps: Pick<GatewayDeps, 'config'>, tenant: string, functionName: string): Target => {
  const target = targetOf(deps, tenant, functionName)
  if (target.qualifier === undefined || target.qualifier === '$LATEST') return { ...target, qualifier: undefined }
  throw new PlatformError('INVALID_REQUEST', `This operation takes no qualifier, and '${target.qualifier}' is one`)
}

/** @throws PlatformError NOT_FOUND, which is what the store says and not only memory. */
export const findRecord = async (registry: Registry, { tenant, name, qualifier }: Target): Promise<FunctionRecord> =>
  registry.find(tenant, name) ?? (await registry.refresh(tenant, name)) ?? registry.get(tenant, name, qualifier)

/** @throws PlatformError NOT_FOUND */
export const findVersion = async (
  { registry, config }: { readonly registry: Registry; readonly config: { readonly region: string } },
  target: Target,
): Promise<{ record: FunctionRecord; version: VersionConfig }> => {
  const found = (record: FunctionRecord) => ({
    record,
    version: resolveVersion(registry, config.region, record, target.qualifier),
  })
  const record = await findRecord(registry, target)
  try {
    return found(record)
  } catch (error) {
    const fresh = await registry.refresh(target.tenant, target.name)
    if (!fresh) throw error
    return found(fresh)
  }
}

/** @throws PlatformError NOT_FOUND */
export const requireQualifier = (record: FunctionRecord, qualifier: string, region: string): void => {
  const known =
    qualifier === '$LATEST' || Object.hasOwn(record.aliases, qualifier) || record.versions.includes(Number(qualifier))
  if (!known)
    throw new PlatformError(
      'NOT_FOUND',
      `Function not found: ${functionArn(region, record.tenant, record.name, qualifier)}`,
    )
}
