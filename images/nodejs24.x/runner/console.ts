/**
 * `console` as in Lambda: time, request id, level, message, separated by tabs. Written synchronously, so that nothing is lost when
 * the process ends in the next line.
 */
import { writeSync } from 'node:fs'
import { format } from 'node:util'
import { currentRequest } from './request-context.ts'

const retryBuffer = new Int32Array(new SharedArrayBuffer(4))

const writeAll = (bytes: Buffer): void => {
  let from = 0
  while (from < bytes.length) {
    try {
      from += writeSync(1, bytes, from)
    } catch (error) {
      // The node reads slowly: wait for room. Anything else means that nobody reads any more.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
      Atomics.wait(retryBuffer, 0, 0, 1)
    }
  }
}

export const logLine = (level: string, message: string): void =>
  writeAll(
    Buffer.from(`${new Date().toISOString()}\t${currentRequest()?.requestId ?? 'undefined'}\t${level}\t${message}\n`),
  )

const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR' } as const

export const patchConsole = (): void => {
  for (const [method, level] of Object.entries(levels))
    console[method as keyof typeof levels] = (...values: unknown[]) => logLine(level, format(...values))
  console.trace = (...values: unknown[]) => {
    const error = { name: 'Trace', message: format(...values) }
    Error.captureStackTrace(error, console.trace)
    logLine('TRACE', (error as unknown as Error).stack ?? error.message)
  }
}
