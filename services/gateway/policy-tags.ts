/** How instances of a function are used, what is held for it, and which of its variables are secrets, is set through tags. */
import { Value } from 'typebox/value'
import { PlatformError } from '../contracts/errors.ts'
import { cachePolicies, InstancePolicy, poolPattern } from '../contracts/function.ts'

export const policyTagNames = {
  concurrency: 'forkyard:concurrency',
  reuse: 'forkyard:reuse',
  keepAliveMs: 'forkyard:keep-alive-ms',
  cache: 'forkyard:cache',
  fork: 'forkyard:fork',
  pool: 'forkyard:pool',
} as const

/** @throws PlatformError INVALID_REQUEST naming the tag and what it may be. */
export const policyFromTags = (tags: Readonly<Record<string, string>>): InstancePolicy => {
  const concurrency = integerTag(tags, policyTagNames.concurrency, 1, 1000)
  const keepAliveMs = integerTag(tags, policyTagNames.keepAliveMs, 0, 3_600_000)
  const reuse = booleanTag(tags, policyTagNames.reuse)
  const fork = booleanTag(tags, policyTagNames.fork)
  const cache = tags[policyTagNames.cache]
  if (cache !== undefined && !cachePolicies.some((name) => name === cache))
    throw invalidTag(policyTagNames.cache, cache, cachePolicies.join(' or '))
  const pool = tags[policyTagNames.pool]
  if (pool !== undefined && !new RegExp(poolPattern).test(pool))
    throw invalidTag(policyTagNames.pool, pool, 'the name of a pool of nodes')
  return Value.Parse(InstancePolicy, {
    concurrency: concurrency ?? 1,
    reuse: reuse ?? true,
    ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
    ...(cache === undefined ? {} : { cache }),
    ...(fork === undefined ? {} : { fork }),
    ...(pool === undefined ? {} : { pool }),
  })
}

const booleanTag = (tags: Readonly<Record<string, string>>, name: string): boolean | undefined => {
  const text = tags[name]
  if (text !== undefined && text !== 'true' && text !== 'false') throw invalidTag(name, text, 'true or false')
  return text === undefined ? undefined : text === 'true'
}

export const secretsTag = 'forkyard:secrets'

/**
 * Names of variables, separated by commas or spaces (AWS allows no commas in tag values, so both).
 * @throws PlatformError INVALID_REQUEST
 */
export const secretNamesFromTags = (tags: Readonly<Record<string, string>>): string[] => {
  const names = (tags[secretsTag] ?? '').split(/[\s,]+/).filter(Boolean)
  const wrong = names.find((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
  if (wrong !== undefined) throw invalidTag(secretsTag, wrong, 'names of environment variables')
  return [...new Set(names)].sort()
}

const integerTag = (
  tags: Readonly<Record<string, string>>,
  name: string,
  minimum: number,
  maximum: number,
): number | undefined => {
  const text = tags[name]
  if (text === undefined) return undefined
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= minimum && value <= maximum)) throw invalidTag(name, text, `an integer from ${minimum} to ${maximum}`)
  return value
}

const invalidTag = (tag: string, value: string, expected: string): PlatformError =>
  new PlatformError('INVALID_REQUEST', `tag ${tag} must be ${expected}, not '${value.slice(0, 64)}'`, { tag, expected })
