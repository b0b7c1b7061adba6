/** The engine's lock on a stack outlives an engine that was killed; the lock of somebody else's engine is respected. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { readProcFile } from './orphans.ts'
import type { Place } from './place.ts'

interface EngineLock {
  readonly pid: number
  readonly hostname: string
}

const lockDir = ({ engineDir, stack }: Place): string =>
  join(engineDir, '.pulumi', 'locks', 'organization', 'forkyard', stack)

const lockFiles = (place: Place): string[] => {
  const dir = lockDir(place)
  if (!existsSync(dir)) return []
  return readdirSync(dir).flatMap((file) => (file.endsWith('.json') ? [join(dir, file)] : []))
}

/** The command line of a process that has ended, and that nobody has waited for yet, is empty. */
const isAlive = ({ pid, hostname: where }: EngineLock): boolean =>
  where !== hostname() || (readProcFile(pid, 'cmdline') ?? '').includes('pulumi')

/** @param isOurs whether a process is one of an earlier run, which is about to be ended. @throws Error naming the process. */
export const refuseForeignEngine = (place: Place, isOurs: (pid: number) => boolean): void => {
  for (const file of lockFiles(place)) {
    const lock = JSON.parse(readFileSync(file, 'utf8')) as EngineLock
    if (isAlive(lock) && !isOurs(lock.pid))
      throw new Error(
        `stack ${place.stack} is in use by process ${lock.pid} on ${lock.hostname}: wait for it, or end it`,
      )
  }
}

/** Once no engine runs that could hold one. */
export const dropStaleLocks = (place: Place): void => {
  for (const file of lockFiles(place)) for (const path of [file, `${file}.attrs`]) rmSync(path, { force: true })
}
