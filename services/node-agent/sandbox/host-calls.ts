/** The addon of `native/host-calls.c`, typed. Built by `native/build.ts`; its path is in the agent's configuration. */
import { createRequire } from 'node:module'

export interface HostCalls {
  /** `[readFd, writeFd]`; the read end is non-blocking. The caller closes both. */
  pipe(): [number, number]
  /** Connects, sends `message` with `fds` attached, returns the connected descriptor, which the caller closes. */
  connectAndSend(socketPath: string, message: Buffer, fds: readonly number[]): number
  /**
   * Runs a program inside control groups from its first instruction: it writes `0` to each of `joinFiles` first. Empty environment,
   * no input. Resolves its wait status (as wait(2) encodes it). @throws Error when it could not be started. Two at a time use the
   * threads that file operations need too.
   */
  run(argv: readonly string[], joinFiles: readonly string[], stdout: number, stderr: number): Promise<number>
}

export const loadHostCalls = (addonPath: string): HostCalls => createRequire(import.meta.url)(addonPath) as HostCalls
