/** What the commands of this folder share: input from stdin, and what a host that cannot be reached means for a removal. */
import type { Static, TSchema } from 'typebox'
import { readInput } from '../host-scripts/input.ts'
import type { Connection } from './connection.ts'
import { UnreachableError } from './session.ts'

/**
 * Names of hosts, separated by commas, which are gone for good: what is removed from them counts as removed when they cannot be
 * reached. In the environment, because it is a decision of one run by somebody who knows.
 */
export const abandonVariable = 'FORKYARD_ABANDON_HOSTS'

const isAbandoned = ({ name }: Connection): boolean =>
  (process.env[abandonVariable] ?? '').split(',').some((entry) => entry.trim() === name)

export type Verbs<Input> = Readonly<Record<string, (input: Input) => Promise<string | void>>>

/** The verb is the first argument; `remove` forgives abandoned hosts. Prints what the verb returns. */
export const runCommand = async <T extends TSchema>(
  schema: T,
  verbs: Verbs<Static<T>>,
  connectionOf: (input: Static<T>) => Connection,
): Promise<void> => {
  const [name = ''] = process.argv.slice(2)
  const verb = verbs[name]
  try {
    if (!verb) throw new Error(`usage: ${Object.keys(verbs).join('|')}`)
    const input: Static<T> = readInput(schema)
    try {
      process.stdout.write((await verb(input)) ?? '')
    } catch (error) {
      const connection = connectionOf(input)
      if (!(error instanceof UnreachableError && name === 'remove')) throw error
      if (!isAbandoned(connection))
        throw new Error(`${error.message}\nIf it is gone for good: ${abandonVariable}=${connection.name}`, {
          cause: error,
        })
      process.stderr.write(`${error.message}; it is abandoned, and what is on it stays\n`)
    }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
