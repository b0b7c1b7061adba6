/** The function that a binding leads to. */
import type { FunctionBinding } from '../../contracts/bindings.ts'
import type { AccessDirectory } from '../access/directory.ts'
import type { GatewayDeps } from '../deps.ts'
import { accountIn } from '../function-name.ts'
import { targetOf, type Target } from '../lookup.ts'

/**
 * @param tenant whose binding it is; an ARN may name another one's function
 * @returns undefined for an account that nobody has. @throws PlatformError INVALID_REQUEST, NOT_FOUND for what names no function of this region
 */
export const boundTarget = (
  deps: Pick<GatewayDeps, 'config'> & { readonly access: Pick<AccessDirectory, 'tenantOf'> },
  tenant: string,
  { function: given, qualifier }: Pick<FunctionBinding, 'function' | 'qualifier'>,
): Target | undefined => {
  const account = accountIn(given)
  const owner = account === undefined ? tenant : deps.access.tenantOf(account)
  return owner === undefined ? undefined : targetOf(deps, owner, given, qualifier)
}
