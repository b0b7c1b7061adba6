/** What is kept beside a function, in a record of its own: set, read and removed by the function's name, and gone with it. */
import { PlatformError } from '../../contracts/errors.ts'
import { functionArn } from '../../contracts/function.ts'
import type { GatewayDeps } from '../deps.ts'
import { findRecord, unqualified } from '../lookup.ts'

export interface SettingStore<T> {
  get(tenant: string, name: string): Promise<T | undefined>
  /** Idempotent. */
  delete(tenant: string, name: string): Promise<void>
}

export interface Setting<T> {
  readonly name: string
  readonly record: T
}

export interface FunctionSetting<T> {
  /** @throws PlatformError NOT_FOUND for the function, also when it is deleted meanwhile; what `write` throws */
  put(tenant: string, functionName: string, write: (name: string) => Promise<T>): Promise<Setting<T>>
  /** @throws PlatformError NOT_FOUND for the function and for the setting */
  get(tenant: string, functionName: string): Promise<Setting<T>>
  /** @throws as `get` */
  delete(tenant: string, functionName: string): Promise<void>
}

/** @param absent how a message says that the function has none */
export const functionSetting = <T>(
  deps: Pick<GatewayDeps, 'registry' | 'config'>,
  store: SettingStore<T>,
  absent: string,
): FunctionSetting<T> => {
  const { registry, config } = deps
  const nameOf = async (tenant: string, functionName: string): Promise<string> =>
    (await findRecord(registry, unqualified(deps, tenant, functionName))).name
  const get: FunctionSetting<T>['get'] = async (tenant, functionName) => {
    const name = await nameOf(tenant, functionName)
    const record = await store.get(tenant, name)
    if (record !== undefined) return { name, record }
    throw new PlatformError('NOT_FOUND', `The function ${functionArn(config.region, tenant, name)} has ${absent}`)
  }
  return {
    get,
    put: async (tenant, functionName, write) => {
      const name = await nameOf(tenant, functionName)
      const record = await write(name)
      // Deleted meanwhile: a later function of the name must not find it.
      if (!(await registry.refresh(tenant, name))) {
        await store.delete(tenant, name)
        registry.get(tenant, name)
      }
      return { name, record }
    },
    delete: async (tenant, functionName) => store.delete(tenant, (await get(tenant, functionName)).name),
  }
}
