/**
 * What systemd wants to hear from a service that it runs as `Type=notify`: that it is ready, and from then on that it is alive. Sent with
 * systemd's own command, since Node.js has no datagram sockets in the file system. Nothing under another supervisor.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Logger } from './log.ts'

const run = promisify(execFile)

export type Notify = (state: string) => Promise<void>

const send: Notify = async (state) => {
  await run('systemd-notify', [state], { timeout: 10_000 })
}

/**
 * Says that the service is ready; then, as long as the event loop turns, that it is alive: three times in the time that systemd waits.
 * @returns ends the latter
 */
export const notifySupervisor = async (
  logger: Logger,
  env: NodeJS.ProcessEnv = process.env,
  notify: Notify = send,
): Promise<() => void> => {
  if (!env['NOTIFY_SOCKET']) return () => undefined
  const tell = (state: string) =>
    notify(state).catch((err: unknown) => logger.error({ err, state }, 'the supervisor cannot be notified'))
  await tell('READY=1')
  const watchdogMs = Number(env['WATCHDOG_USEC'] ?? 0) / 1000
  if (watchdogMs === 0) return () => undefined
  const timer = setInterval(() => void tell('WATCHDOG=1'), watchdogMs / 3)
  timer.unref()
  return () => clearInterval(timer)
}
