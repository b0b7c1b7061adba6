/** JSON log lines on stdout, one per event; the supervisor stores them. */
import { pino, type Logger } from 'pino'

export type { Logger }

export const createLogger = (service: string, level = 'info'): Logger =>
  pino({
    level,
    base: { service, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: ['req.headers.authorization', 'password', 'token', 'secretAccessKey'],
  })
