/** The one JSON value on stdin of a host script, checked. */
import { readFileSync } from 'node:fs'
import type { Static, TSchema } from 'typebox'
import { Value } from 'typebox/value'

export const readInput = <T extends TSchema>(schema: T): Static<T> => {
  const value: unknown = JSON.parse(readFileSync(0, 'utf8'))
  if (Value.Check(schema, value)) return value
  const problems = Value.Errors(schema, value).map((error) => `${error.instancePath || '/'} ${error.message}`)
  throw new Error(`input is not valid: ${problems.join('; ')}`)
}
