/** Errors that nobody caught: the state of the process is unknown from then on, so it reports them and ends, as in Lambda. */
import { logLine } from './console.ts'
import { errorBody, type ErrorBody } from './error-body.ts'
import { currentRequest } from './request-context.ts'

const exitStatus = { 'Uncaught Exception': 129, 'Unhandled Promise Rejection': 128 } as const

export type ReportUncaught = (requestId: string | undefined, error: ErrorBody) => Promise<void>

/** @param report tells the node; the process ends when it is done, or after a second. */
export const endOnUncaught = (report: ReportUncaught): void => {
  const end = (what: keyof typeof exitStatus, error: ErrorBody): void => {
    logLine('ERROR', `${what} \t${JSON.stringify(error)}`)
    const exit = () => process.exit(exitStatus[what])
    setTimeout(exit, 1000)
    void report(currentRequest()?.requestId, error).then(exit, exit)
  }
  process.on('uncaughtException', (error) => end('Uncaught Exception', errorBody(error)))
  process.on('unhandledRejection', (reason) => {
    const body = errorBody(reason)
    end('Unhandled Promise Rejection', {
      ...body,
      errorType: 'Runtime.UnhandledPromiseRejection',
      errorMessage: body.errorType === 'string' ? body.errorMessage : `${body.errorType}: ${body.errorMessage}`,
    })
  })
}
