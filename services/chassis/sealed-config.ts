/** Variables of functions as they lie in the registry: sealed, for exactly the function whose they are. */
import type { FunctionRecord, VersionConfig } from '../contracts/function.ts'
import type { Sealer } from './sealing.ts'

const placeOf = ({ tenant, name }: VersionConfig): string => `environment.${tenant}.${name}`

/** Names and values together; nothing where there is nothing to hide. */
export const sealConfig = (sealer: Sealer, config: VersionConfig): VersionConfig =>
  Object.keys(config.environment).length === 0
    ? config
    : {
        ...config,
        environment: {},
        sealedEnvironment: sealer.seal(JSON.stringify(config.environment), placeOf(config)),
      }

/** @throws SealError when its variables cannot be read: a function must not run without them. */
export const openConfig = (sealer: Sealer, stored: VersionConfig): VersionConfig => {
  const { sealedEnvironment, ...config } = stored
  if (sealedEnvironment === undefined) return config
  const environment = JSON.parse(sealer.open(sealedEnvironment, placeOf(config))) as VersionConfig['environment']
  return { ...config, environment }
}

export const sealRecord = (sealer: Sealer, record: FunctionRecord): FunctionRecord => ({
  ...record,
  latest: sealConfig(sealer, record.latest),
})

/** @throws SealError */
export const openRecord = (sealer: Sealer, stored: FunctionRecord): FunctionRecord => ({
  ...stored,
  latest: openConfig(sealer, stored.latest),
})

/** It was written before a rotation, or before variables were sealed at all. */
export const isSealedAnew = (sealer: Sealer, { environment, sealedEnvironment }: VersionConfig): boolean =>
  Object.keys(environment).length === 0 && (sealedEnvironment === undefined || !sealer.isOld(sealedEnvironment))
