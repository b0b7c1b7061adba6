/** A config value that does not fit, in words: the key, what was found, what is valid, what the key means. */
import type { TObject, TSchema } from 'typebox'
import { Value } from 'typebox/value'

/** The rules of a schema that people need to know. */
interface Rules {
  readonly type?: string
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly items?: Rules
  readonly description?: string
}

export const describeProblem = (key: string, schema: TSchema, found: unknown): string => {
  const rules = schema as Rules
  const valid = [
    rules.enum ? `one of ${rules.enum.join(', ')}` : (rules.type ?? 'another type'),
    rules.minimum !== undefined && `from ${rules.minimum}`,
    rules.maximum !== undefined && `to ${rules.maximum}`,
    rules.maxLength !== undefined && `at most ${rules.maxLength} characters`,
    rules.pattern !== undefined && `matching ${rules.pattern}`,
    rules.items?.enum && `of different values of ${rules.items.enum.join(', ')}`,
  ].filter(Boolean)
  return `${key}: ${JSON.stringify(found)} is not valid; expected ${valid.join(' ')} (${rules.description})`
}

/**
 * Every value at fault by its own key, `<at>.port`.
 * @param value with its defaults @param hidden keys whose values are not repeated
 */
export const objectProblems = (
  at: string,
  schema: TObject,
  value: unknown,
  hidden: readonly string[] = [],
): string[] => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${at}: is not an object`]
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(schema.properties, name))
  const valid = Object.keys(schema.properties).join(', ')
  return [
    ...unknown.map((name) => `${at}.${name}: unknown key. Valid keys: ${valid}`),
    ...Object.entries<TSchema>(schema.properties).flatMap(([name, property]) => {
      const given = (value as Readonly<Record<string, unknown>>)[name]
      if (given === undefined && !(schema.required as readonly string[] | undefined)?.includes(name)) return []
      if (Value.Check(property, given)) return []
      return [describeProblem(`${at}.${name}`, property, hidden.includes(name) ? 'the value' : given)]
    }),
  ]
}
