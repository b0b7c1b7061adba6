/** A config value that does not fit, in words: the key, what was found, what is valid, what the key means. */
import type { TSchema } from 'typebox'

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
