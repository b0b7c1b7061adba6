/** What a function's failure looks like to its caller, in Lambda's words. */
import type { Outcome } from '../../contracts/usage.ts'
import type { SandboxExit } from '../instance.ts'

export interface FunctionFailure {
  readonly outcome: Outcome
  /** JSON for the caller. */
  readonly body: Buffer
  /** For the REPORT line. */
  readonly status: string
}

const failure = (outcome: Outcome, status: string, errorType: string, errorMessage: string): FunctionFailure => ({
  outcome,
  status,
  body: Buffer.from(JSON.stringify({ errorType, errorMessage })),
})

export const timedOut = (id: string, timeoutMs: number): FunctionFailure =>
  failure(
    'timeout',
    'timeout',
    'Sandbox.Timedout',
    `RequestId: ${id} Error: Task timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`,
  )

/** What ran was not the initialisation, which was over when the version was saved. */
export const restoreTimedOut = (id: string, timeoutMs: number): FunctionFailure =>
  failure(
    'timeout',
    'timeout',
    'SnapStartTimeoutException',
    `RequestId: ${id} Error: the hooks after the restore did not end within ${(timeoutMs / 1000).toFixed(2)} seconds`,
  )

export const ended = (id: string, exit: SandboxExit, memoryMiB: number): FunctionFailure =>
  exit.reason === 'out-of-memory'
    ? failure(
        'out-of-memory',
        'error',
        'Runtime.OutOfMemory',
        `RequestId: ${id} Error: Runtime exceeded its memory of ${memoryMiB} MB: ${exit.detail}`,
      )
    : failure(
        'exit',
        'error',
        'Runtime.ExitError',
        /exit status \d+|signal|over the limit/.test(exit.detail)
          ? `RequestId: ${id} Error: Runtime exited with error: ${exit.detail}`
          : `RequestId: ${id} Error: Runtime exited without providing a reason`,
      )

export const tooLarge = (limit: number): FunctionFailure =>
  failure(
    'response-too-large',
    'error',
    'Function.ResponseSizeTooLarge',
    `Response payload size exceeded maximum allowed payload size (${limit} bytes).`,
  )

export const reported = (body: Buffer): FunctionFailure => ({ outcome: 'function-error', status: 'error', body })
