/** The addon of `native/host-calls.c`, typed. Built by `native/build.ts`; its path is in the agent's configuration. */
import { createRequire } from 'node:module'

export interface HostCalls {
  /** `[readFd, writeFd]`; the read end is non-blocking. The caller closes both. */
  pipe(): [number, number]
  /** Connects, sends `message` with `fds` attached, returns the connected descriptor, which the caller closes. */
  connectAndSend(socketPath: string, message: Buffer, fds: readonly number[]): number
}

export const loadHostCalls = (addonPath: string): HostCalls => createRequire(import.meta.url)(addonPath) as HostCalls
