/** `forkyard`: a thin client of the platform's public API. Exit codes: 0, 1 platform or usage, 2 the function's own error. */
import { CliError, describeError } from './cli-error.ts'
import { findConnection } from './connection.ts'
import { buildProgram } from './program.ts'

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

/** For messages; whatever is wrong with the connection itself was said by then. */
const endpoint = (): string | undefined => {
  try {
    return findConnection(process.env).endpoint
  } catch {
    return undefined
  }
}

try {
  await buildProgram().parseAsync()
} catch (error) {
  process.stderr.write(`forkyard: ${describeError(error, endpoint())}\n`)
  process.exitCode = error instanceof CliError ? error.exitCode : 1
}
