/** Inputs of a `Function`: schema, defaults, what is computed before anything is asked of the platform. */
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { CliError } from '../cli/cli-error.ts'
import { fromVariables } from '../cli/network.ts'
import { ProjectFile } from '../cli/project-file.ts'
import { Bindings } from '../contracts/bindings.ts'
import type { RuntimeName } from '../contracts/function.ts'
import { NetworkPolicy } from '../contracts/network.ts'
import { policyTagNames, secretNamesFromTags } from '../gateway/policy-tags.ts'
import { isReservedVariable } from '../gateway/settings.ts'
import { secretNames } from '../node-agent/checkpoint/secrets.ts'
import { loadCode } from './function-code.ts'
import { withSecretCredentials } from './function-network.ts'
import { holdsUnknown, isObject, secret, unknownValue, type Properties } from './property-values.ts'
import type { CheckFailure, Checked } from './resource-kind.ts'

const { name, handler, runtime, memory, timeout, include, ...project } = ProjectFile.properties
const namePattern = (name as { pattern?: string }).pattern
const { concurrency, reuse, keepAliveMs, cache, fork, pool } = project

/** The URN of the resource that manages a function, or its SHA-256: whose an interrupted creation was. */
export const ownerTag = 'forkyard:pulumi-urn'
const takenTags = new Set<string>([...Object.values(policyTagNames), ownerTag])

export const Alias = Type.String({ maxLength: 128, pattern: '^(?!\\d+$)[a-zA-Z0-9-_]+$' })

export const FunctionInputs = Type.Object({
  name,
  code: Type.String({ minLength: 1 }),
  handler,
  runtime,
  memory,
  timeout,
  include,
  description: Type.Optional(Type.String({ maxLength: 256 })),
  environment: Type.Optional(
    Type.Object({}, { additionalProperties: Type.String(), propertyNames: { pattern: '^[a-zA-Z][a-zA-Z0-9_]+$' } }),
  ),
  tags: Type.Optional(Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 256 }))),
  alias: Type.Optional(Alias),
  concurrency,
  reuse,
  keepAliveMs,
  cache,
  fork,
  pool,
  /** What it may reach, and what may reach it. Absent: no network but for its bindings. */
  network: Type.Optional(NetworkPolicy),
  /** What it uses by name. */
  bindings: Type.Optional(Bindings),
})

/** As they are in the state; `aliasWeights` is always none there: what somebody else set shows as a difference. */
export interface CompleteInputs {
  readonly name: string
  readonly code: string
  readonly include?: readonly string[]
  readonly runtime: RuntimeName
  readonly handler: string
  readonly memory: number
  readonly timeout: number
  readonly description: string
  readonly environment: Readonly<Record<string, string>>
  readonly tags: Readonly<Record<string, string>>
  readonly alias: string
  readonly aliasWeights: Readonly<Record<string, number>>
  readonly codeSha256: string
  readonly files: Readonly<Record<string, string>>
  readonly concurrency?: number
  readonly reuse?: boolean
  readonly keepAliveMs?: number
  readonly cache?: 'adaptive' | 'strict-cold'
  readonly fork?: boolean
  readonly pool?: string
  readonly network?: NetworkPolicy
  readonly bindings?: Bindings
}

/** The gateway's own defaults, so that a change of them by somebody else is seen. */
const defaults = {
  memory: 128,
  timeout: 3,
  description: '',
  environment: {},
  tags: {},
  alias: 'live',
  aliasWeights: {},
}

export const completeInputs = async (given: Properties, resourceName: string): Promise<Checked> => {
  const named = { name: resourceName, ...given }
  const failures = [
    ...nameFailures(named.name),
    ...tagFailures(given['tags']),
    ...variableFailures(given['environment']),
  ]
  if (failures.length > 0) return { inputs: named, failures }
  if (holdsUnknown(given['code'])) {
    const computed = { runtime: unknownValue, handler: unknownValue, codeSha256: unknownValue, files: unknownValue }
    return { inputs: { ...defaults, ...computed, ...named, ...bindingsOf(undefined, given['bindings']) }, failures: [] }
  }
  try {
    const code = await loadCode(String(given['code']), packing(given))
    const { name: _, entry: __, url: ___, streaming: ____, $schema: _____, ...project } = code.project
    const { environment, network, bindings, ...settings } = project
    const merged = withEnvironment(environment, given['environment'], given['tags'])
    const inputs = {
      ...defaults,
      ...settings,
      ...(network ? { network } : {}),
      ...named,
      ...bindingsOf(bindings, given['bindings']),
      environment: merged,
      runtime: code.runtime,
      handler: code.handler,
      codeSha256: code.codeSha256,
      files: code.files,
    }
    return { inputs, failures: variableFailures(merged) }
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    return { inputs: named, failures: [{ property: 'code', reason: error.message }] }
  }
}

/** What decides how the code is packed. */
export const packing = (given: Properties): ProjectFile =>
  Object.fromEntries(
    ['handler', 'runtime', 'include'].flatMap((key) =>
      given[key] === undefined || holdsUnknown(given[key]) ? [] : [[key, given[key]]],
    ),
  )

/** Those of the program win over those of the project file, name by name. @throws CliError for a variable that is not set */
const bindingsOf = (file: Bindings | null | undefined, given: unknown): Properties => {
  if (given !== undefined && !isObject(given)) return { bindings: given }
  const all = { ...(file ? fromVariables(file, process.env) : {}), ...given }
  return file || given ? { bindings: withSecretCredentials(all) } : {}
}

/** Variables that look like secrets, as the platform sees them, are secrets in the state too. */
const withEnvironment = (file: Readonly<Record<string, string>> = {}, given: unknown, tags: unknown): unknown => {
  if (given !== undefined && !isObject(given)) return given
  const environment = { ...file, ...given } as Record<string, string>
  const named = isObject(tags) ? secretNamesFromTags(tags as Record<string, string>) : []
  const secrets = new Set(secretNames({ environment, secretNames: named }))
  return Object.fromEntries(
    Object.entries(environment).map(([key, value]) => [
      key,
      secrets.has(key) && value !== unknownValue ? secret(value) : value,
    ]),
  )
}

const nameFailures = (value: unknown): CheckFailure[] =>
  holdsUnknown(value) || Value.Check(name, value)
    ? []
    : [{ property: 'name', reason: `'${String(value)}' is no function name: expected ${namePattern}` }]

/** The platform would refuse them; here, before anything is changed. */
const variableFailures = (environment: unknown): CheckFailure[] =>
  Object.keys(isObject(environment) ? environment : {})
    .filter(isReservedVariable)
    .map((variable) => ({ property: 'environment', reason: `${variable} is set by the platform itself` }))

const tagFailures = (tags: unknown): CheckFailure[] => {
  if (!isObject(tags) || holdsUnknown(tags)) return []
  const taken = Object.keys(tags).filter((tag) => takenTags.has(tag) || /^aws:/i.test(tag))
  if (taken.length > 0)
    return taken.map((tag) => ({ property: 'tags', reason: `${tag} is not set as a tag here, but as a property` }))
  try {
    secretNamesFromTags(tags as Record<string, string>)
    return []
  } catch (error) {
    return [{ property: 'tags', reason: (error as Error).message }]
  }
}
