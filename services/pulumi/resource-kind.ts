/** What the provider knows about one type of resource, and what is the same for all of them. */
import type { LambdaClient } from '@aws-sdk/client-lambda'
import type { Connection } from '../cli/connection.ts'
import { Type, type TObject, type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { holdsUnknown, type Properties } from './property-values.ts'

export interface CheckFailure {
  readonly property: string
  readonly reason: string
}

export interface Checked {
  readonly inputs: Properties
  readonly failures: readonly CheckFailure[]
}

export interface Target {
  readonly client: LambdaClient
  /** For the platform's own endpoints. */
  readonly connection: Connection
  /** Of the resource in its stack: unique, also between stacks. */
  readonly urn: string
}

/** What the platform has now. */
export interface Found {
  readonly inputs: Properties
  readonly computed: Properties
}

/** Outputs of a resource are its checked inputs and what is computed. */
export interface ResourceKind {
  readonly schema: TObject
  /** Inputs whose change needs another resource. */
  readonly replaceOn: readonly string[]
  /** Inputs of this machine, which the platform does not know: alone, their change changes nothing. */
  readonly local?: readonly string[]
  /** Inputs that fit the schema, some of them perhaps not known yet -> all of them, with defaults. */
  complete(given: Properties, resourceName: string): Promise<Checked>
  /** May be repeated after it was cut off. @throws the SDK's exceptions */
  create(target: Target, inputs: Properties): Promise<{ readonly id: string; readonly computed: Properties }>
  /** @param known outputs as they were last, none when it is imported. Undefined: it is gone. */
  read(target: Target, id: string, known: Properties): Promise<Found | undefined>
  /** Returns what is computed. */
  update(target: Target, id: string, before: Properties, inputs: Properties): Promise<Properties>
  /** Done as well when it is gone already. */
  remove(target: Target, id: string, known: Properties): Promise<void>
}

export const checkInputs = async (kind: ResourceKind, given: Properties, resourceName: string): Promise<Checked> => {
  const failures = schemaFailures(kind.schema, given)
  return failures.length > 0 ? { inputs: given, failures } : kind.complete(given, resourceName)
}

/** What is not known yet is checked once it is. */
export const schemaFailures = ({ properties }: TObject, given: Properties): CheckFailure[] => {
  const foreign = Object.keys(given).filter((key) => !Object.hasOwn(properties, key))
  const valid = Object.keys(properties).join(', ')
  return [
    ...foreign.map((property) => ({ property, reason: `unknown property. Valid are ${valid}` })),
    ...Object.entries<TSchema>(properties).flatMap(([property, schema]) => {
      const value = given[property]
      if (holdsUnknown(value)) return []
      if (value === undefined) return Type.IsOptional(schema) ? [] : [{ property, reason: 'is required' }]
      return Value.Errors(schema, value).map(({ instancePath, message, params }) => {
        const allowed = 'allowedValues' in params ? ` (${params.allowedValues.join(', ')})` : ''
        return { property: `${property}${instancePath.replaceAll('/', '.')}`, reason: `${message}${allowed}` }
      })
    }),
  ]
}

/** @throws Error for an id that was given to an import */
export const splitId = (id: string): readonly [string, string] => {
  const [name = '', qualifier = '', ...rest] = id.split(':')
  if (!name || !qualifier || rest.length > 0) throw new Error(`'${id}' is no id: expected <function>:<qualifier>`)
  return [name, qualifier]
}
