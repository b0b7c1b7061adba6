/** A function with everything of it, or one of its versions. */
import { PlatformError } from '../contracts/errors.ts'
import { functionArn } from '../contracts/function.ts'
import { withoutProvisioned } from './alias-record.ts'
import type { GatewayDeps } from './deps.ts'
import { isVersionNumber } from './function-name.ts'
import type { Target } from './lookup.ts'

/** @throws PlatformError NOT_FOUND; INVALID_REQUEST for `$LATEST` or an alias; ALREADY_EXISTS while an alias points to the version. */
export const deleteFunctionOrVersion = async (
  {
    registry,
    networkPolicies,
    bindings,
    config,
  }: Pick<GatewayDeps, 'registry' | 'networkPolicies' | 'bindings' | 'config'>,
  { tenant, name, qualifier }: Target,
): Promise<void> => {
  if (qualifier === undefined) {
    // First: should this gateway die in between, a later function of the name must not find an open door.
    await networkPolicies.delete(tenant, name)
    await bindings.delete(tenant, name)
    return registry.delete(tenant, name)
  }
  if (qualifier === '$LATEST')
    throw new PlatformError(
      'INVALID_REQUEST',
      '$LATEST version cannot be deleted without deleting the function. To delete the function, leave the qualifier out.',
    )
  if (!isVersionNumber(qualifier))
    throw new PlatformError('INVALID_REQUEST', `'${qualifier}' is no version number; aliases have DeleteAlias`)
  const number = Number(qualifier)
  await registry.update(tenant, name, (record) => {
    if (!record.versions.includes(number))
      throw new PlatformError('NOT_FOUND', `Function not found: ${functionArn(config.region, tenant, name, qualifier)}`)
    const holders = Object.values(record.aliases).filter(
      ({ functionVersion, weights }) => functionVersion === qualifier || Object.hasOwn(weights, qualifier),
    )
    if (holders.length > 0)
      throw new PlatformError(
        'ALREADY_EXISTS',
        `Version ${qualifier} of ${name} is in use by the alias ${holders.map((alias) => alias.name).join(', ')}`,
      )
    const { [qualifier]: _gone, ...eventInvokeConfigs } = record.eventInvokeConfigs ?? {}
    const { [qualifier]: _policy, ...policies } = record.policies ?? {}
    const versions = record.versions.filter((each) => each !== number)
    return { ...withoutProvisioned(record, qualifier), versions, eventInvokeConfigs, policies }
  })
  await registry.dropVersion(tenant, name, number)
}
