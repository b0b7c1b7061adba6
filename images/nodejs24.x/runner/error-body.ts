/** What a function's error looks like to its caller: Lambda's JSON. */
import { inspect, types } from 'node:util'

export interface ErrorBody {
  readonly errorType: string
  readonly errorMessage: string
  readonly trace: readonly string[]
}

/** An error of the runtime itself, with one of Lambda's type names. */
export class RuntimeError extends Error {
  readonly errorType: string
  constructor(errorType: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = errorType
    this.errorType = errorType
  }
}

const asText = (value: unknown): string =>
  typeof value === 'string' ? value : value === undefined ? '' : inspect(value)

/** Anything can be thrown, also things whose own conversion throws. */
export const errorBody = (thrown: unknown): ErrorBody => {
  try {
    if (types.isNativeError(thrown) || thrown instanceof Error) {
      // Any property may have been replaced by anything.
      const { name, message, stack } = thrown as unknown as Readonly<Record<string, unknown>>
      return {
        errorType: asText(name) || 'Error',
        errorMessage: asText(message),
        trace: asText(stack).split('\n').filter(Boolean),
      }
    }
    const text = typeof thrown === 'object' && thrown !== null ? JSON.stringify(thrown) : String(thrown)
    return { errorType: typeof thrown, errorMessage: text, trace: [] }
  } catch {
    return { errorType: 'Error', errorMessage: 'the handler threw something that cannot be shown', trace: [] }
  }
}
