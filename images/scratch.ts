/**
 * A working directory that belongs to one run of a builder. It goes when the run ends, also by a signal; after a SIGKILL the next
 * run removes it, because its name holds the process that is gone.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { undoing } from './interruption.ts'

const alive = (pid: number): boolean => existsSync(`/proc/${pid}`)

/** Directories of runs that are over. */
export const abandoned = (parent: string, prefix: string): { readonly path: string; readonly pid: number }[] =>
  (existsSync(parent) ? readdirSync(parent) : [])
    .filter((name) => name.startsWith(prefix))
    .map((name) => ({ path: join(parent, name), pid: Number(name.slice(prefix.length)) }))
    .filter(({ pid }) => Number.isInteger(pid) && pid > 0 && !alive(pid))

export const withScratch = async <T>(parent: string, prefix: string, use: (dir: string) => Promise<T>): Promise<T> => {
  for (const { path } of abandoned(parent, prefix)) rmSync(path, { recursive: true, force: true })
  const dir = join(parent, `${prefix}${process.pid}`)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return undoing(
    () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }),
    () => use(dir),
  )
}
