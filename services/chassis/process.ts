/** Life of a service process: start, say so, drain on SIGTERM, end. */
import type { Logger } from './log.ts'
import { notifySupervisor } from './notify.ts'

export interface Service {
  /** Stops taking work, finishes what was taken (bounded by `graceMs`), releases everything. */
  close(): Promise<void>
}

/**
 * Runs `start`, then waits for SIGTERM or SIGINT and closes. Exit code 0 after a clean drain, 1 when the start fails or the
 * drain takes longer than `graceMs`. An unhandled error is fatal: the supervisor starts a fresh process.
 */
export const runService = async (logger: Logger, start: () => Promise<Service>, graceMs = 30_000): Promise<void> => {
  const fatal = (err: unknown) => {
    logger.fatal({ err }, 'the service ends')
    process.exit(1)
  }
  process.on('uncaughtException', fatal)
  process.on('unhandledRejection', fatal)
  let service: Service
  try {
    service = await start()
    await notifySupervisor(logger)
  } catch (err) {
    return fatal(err)
  }
  let closing = false
  const stop = (signal: string) => {
    if (closing) return
    closing = true
    logger.info({ signal }, 'draining')
    setTimeout(() => fatal(new Error(`drain took longer than ${graceMs} ms`)), graceMs).unref()
    service.close().then(() => process.exit(0), fatal)
  }
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
}
