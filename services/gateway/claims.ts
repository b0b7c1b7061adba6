/** What functions claim of the nodes (`contracts/claims.ts`), made from the registry, and told when it changes. */
import type { FunctionClaim, ProvisionedClaim } from '../contracts/claims.ts'
import { latest, type FunctionRecord, type VersionConfig } from '../contracts/function.ts'
import type { RevisionNeeds } from '../contracts/links.ts'
import { isVersionNumber } from './function-name.ts'
import type { Registry, RegistryChange } from './registry.ts'

type Versions = (number: number) => VersionConfig | undefined

/**
 * Invocations for which a qualifier has instances of its own, by version number. An alias with weights divides them as it divides its requests,
 * rounded up.
 */
export const provisionedByVersion = (
  { aliases, provisioned = {} }: Pick<FunctionRecord, 'aliases' | 'provisioned'>,
  only?: string,
): Map<string, number> => {
  const sum = new Map<string, number>()
  const add = (version: string, concurrency: number): void => {
    // What a computer makes of 0.3 is not one more.
    const instances = Math.ceil(concurrency - 1e-9)
    if (instances > 0 && isVersionNumber(version)) sum.set(version, (sum.get(version) ?? 0) + instances)
  }
  for (const [qualifier, { concurrency }] of Object.entries(provisioned)) {
    if (only !== undefined && qualifier !== only) continue
    const alias = Object.hasOwn(aliases, qualifier) ? aliases[qualifier] : undefined
    const weights = Object.entries(alias?.weights ?? {})
    const rest = weights.reduce((left, [, weight]) => left - weight, 1)
    for (const [version, weight] of weights) add(version, concurrency * weight)
    add(alias?.functionVersion ?? qualifier, concurrency * rest)
  }
  return sum
}

export const needsOf = (config: VersionConfig): RevisionNeeds => {
  const { tenant, name, version, revisionId, runtime, memoryMiB, policy } = config
  return { revision: { tenant, name, version, revisionId }, runtime, memoryMiB, policy }
}

/** Pure. */
export const claimOf = (record: FunctionRecord, versionOf: Versions): FunctionClaim => {
  const { tenant, name, reservedConcurrency } = record
  const { runtime, memoryMiB, policy } = record.latest
  const provisioned = [...provisionedByVersion(record)].flatMap(([number, concurrency]): ProvisionedClaim[] => {
    const config = versionOf(Number(number))
    return config ? [{ needs: needsOf(config), concurrency }] : []
  })
  return {
    needs: { revision: { tenant, name }, runtime, memoryMiB, policy },
    ...(reservedConcurrency === undefined ? {} : { reservedConcurrency }),
    provisioned,
  }
}

const claimsSomething = ({ reservedConcurrency = 0, provisioned }: FunctionClaim): boolean =>
  reservedConcurrency > 0 || provisioned.length > 0

export interface ClaimSource {
  /** All that is claimed now; absent while the registry is not known. */
  all(): FunctionClaim[] | undefined
}

/** @param tell is told each claim that changed; nothing but the name of a function that claims nothing any more matters of it */
export const followClaims = (
  registry: Pick<Registry, 'all' | 'find' | 'version' | 'synced' | 'onChange'>,
  tell: { readonly changed: (claim: FunctionClaim) => void; readonly complete: () => void },
): ClaimSource => {
  /** Functions that claim something, and what was told. */
  const told = new Map<string, { readonly claim: FunctionClaim; readonly text: string }>()
  let complete = registry.synced
  const claimFor = (record: FunctionRecord): FunctionClaim =>
    claimOf(record, (number) => registry.version(record.tenant, record.name, number))

  const changed = (tenant: string, name: string): void => {
    const key = `${tenant}/${name}`
    const before = told.get(key)
    const record = registry.find(tenant, name)
    const claim = record && claimFor(record)
    if (claim && claimsSomething(claim)) {
      const text = JSON.stringify(claim)
      if (before?.text === text) return
      told.set(key, { claim, text })
      tell.changed(claim)
    } else if (before && told.delete(key)) {
      tell.changed({ needs: before.claim.needs, provisioned: [] })
    }
  }
  registry.onChange = (change: RegistryChange) => {
    if (change !== 'synced') return changed(change.tenant, change.name)
    complete = true
    tell.complete()
  }
  for (const { tenant, name } of registry.all()) changed(tenant, name)
  return { all: () => (complete ? [...told.values()].map(({ claim }) => claim) : undefined) }
}

/** Where provisioned concurrency may be: a published version, or an alias of one. */
export const isPublished = (record: FunctionRecord, qualifier: string): boolean => {
  const alias = Object.hasOwn(record.aliases, qualifier) ? record.aliases[qualifier] : undefined
  return (alias?.functionVersion ?? qualifier) !== latest
}
