/** Values as they travel between the engine and the provider: plain ones, ones that are not known yet, and secrets. */
import { isDeepStrictEqual } from 'node:util'
import struct from 'google-protobuf/google/protobuf/struct_pb.js'

export type Properties = Readonly<Record<string, unknown>>

/** Marks of the engine's protocol (`@pulumi/pulumi/runtime/rpc`, which does not export them with types). */
export const unknownValue = '04da6b54-80e4-46f7-96ec-b56ff0331ba9'
const signatureKey = '4dabf18193072939515e22adb298388d'
const secretSignature = '1b47061264138c4ac30d75fd1eb44270'

/** The engine encrypts it in the state and hides it in what it prints. */
export const secret = (value: unknown): Properties => ({ [signatureKey]: secretSignature, value })

export const isObject = (value: unknown): value is Properties =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isSecret = (value: unknown): boolean => isObject(value) && value[signatureKey] === secretSignature

/** Values of secrets in their place, at any depth. */
export const withoutSecrets = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutSecrets)
  if (!isObject(value)) return value
  if (isSecret(value)) return withoutSecrets(value['value'])
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withoutSecrets(each)]))
}

/** A preview knows nothing of what other resources will answer. */
export const holdsUnknown = (value: unknown): boolean =>
  value === unknownValue ||
  (Array.isArray(value) && value.some(holdsUnknown)) ||
  (isObject(value) && Object.values(value).some(holdsUnknown))

/** What is undefined is left out: a `Struct` has no such value. */
export const toStruct = (properties: Properties): struct.Struct =>
  struct.Struct.fromJavaScript(JSON.parse(JSON.stringify(properties)) as Record<string, struct.JavaScriptValue>)

export const fromStruct = (given: struct.Struct | undefined): Properties => given?.toJavaScript() ?? {}

export interface Difference {
  /** `memory`, `environment.LOG_LEVEL`, `files["index.mjs"]`. */
  readonly path: string
  readonly kind: 'add' | 'delete' | 'update'
}

/** Property by property; of objects entry by entry, one level deep. */
export const differences = (before: Properties, after: Properties): Difference[] =>
  keysOf(before, after).flatMap((key) => {
    const [was, is] = [before[key], after[key]]
    if (!isObject(was) || !isObject(is)) return difference(key, was, is)
    return keysOf(was, is).flatMap((entry) => difference(entryPath(key, entry), was[entry], is[entry]))
  })

const keysOf = (...objects: readonly Properties[]): string[] => [
  ...new Set(objects.flatMap((each) => Object.keys(each))),
]

const difference = (path: string, was: unknown, is: unknown): Difference[] =>
  isDeepStrictEqual(was, is) ? [] : [{ path, kind: was === undefined ? 'add' : is === undefined ? 'delete' : 'update' }]

const entryPath = (key: string, entry: string): string =>
  /^[A-Za-z_]\w*$/.test(entry) ? `${key}.${entry}` : `${key}[${JSON.stringify(entry)}]`
