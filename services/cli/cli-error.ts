/** What ends the CLI without a stack trace. Exit codes: 1 platform or usage, 2 the function answered with an error. */
export class CliError extends Error {
  readonly exitCode: 1 | 2

  constructor(message: string, exitCode: 1 | 2 = 1, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CliError'
    this.exitCode = exitCode
  }
}

/** Any failure as one line for people, with what to do next where that is known. */
export const describeError = (error: unknown, endpoint?: string): string => {
  if (!(error instanceof Error)) return String(error)
  const codes = [error, ...(error instanceof AggregateError ? error.errors : []), error.cause].map((each: unknown) =>
    typeof each === 'object' && each !== null && 'code' in each ? String(each.code) : '',
  )
  if (codes.some((code) => ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EHOSTUNREACH'].includes(code)))
    return `nothing answers at ${endpoint ?? 'the endpoint'}: is the stack running? Start it with ./scripts/up`
  // `fetch` says only that it failed; its cause says why.
  if (error.message === 'fetch failed' && error.cause instanceof Error)
    return `${endpoint ?? 'the endpoint'} cannot be reached: ${error.cause.message}`
  return error instanceof CliError || error.name === 'Error' ? error.message : `${error.name}: ${error.message}`
}
