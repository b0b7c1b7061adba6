/** Reads a service's configuration file (JSON; `--config FILE`) against its schema. Never falls open: any doubt ends the start. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Static, type TSchema } from 'typebox'
import { Value } from 'typebox/value'

/** The file is missing, is not JSON, or does not fit the schema. The message names the key and what is expected. */
export class ConfigError extends Error {
  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(`configuration ${file}: ${problem}`, options)
    this.name = 'ConfigError'
  }
}

export const configPath = (argv = process.argv.slice(2)): string => {
  const { values } = parseArgs({ args: argv, options: { config: { type: 'string' } } })
  if (!values.config) throw new ConfigError('(none)', 'the option --config FILE is required')
  return values.config
}

export const readConfig = <T extends TSchema>(schema: T, file: string): Static<T> => {
  let raw: unknown
  try {
    raw = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new ConfigError(file, error instanceof Error ? error.message : String(error), { cause: error })
  }
  const value = Value.Default(schema, raw)
  if (!Value.Check(schema, value)) {
    const problems = Value.Errors(schema, value).map((error) => `${error.instancePath || '/'} ${error.message}`)
    throw new ConfigError(file, problems.join('; '))
  }
  return value
}
