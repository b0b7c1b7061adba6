/** The engine's lock on a stack outlives an engine that was killed; the locks of engines that live are respected. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { Place } from './place.ts'

interface EngineLock {
  readonly pid: number
  readonly hostname: string
}

const isAlive = ({ pid, hostname: where }: EngineLock): boolean =>
  where !== hostname() || (existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('pulumi'))

/** @throws Error naming the process when an engine that runs holds the stack. */
export const dropStaleLocks = ({ engineDir, stack }: Place): void => {
  const dir = join(engineDir, '.pulumi', 'locks', 'organization', 'forkyard', stack)
  if (!existsSync(dir)) return
  for (const file of readdirSync(dir).filter((name) => name.endsWith('.json'))) {
    const lock = JSON.parse(readFileSync(join(dir, file), 'utf8')) as EngineLock
    if (isAlive(lock))
      throw new Error(`stack ${stack} is in use by process ${lock.pid} on ${lock.hostname}: wait for it, or end it`)
    for (const path of [join(dir, file), join(dir, `${file}.attrs`)]) rmSync(path, { force: true })
  }
}
