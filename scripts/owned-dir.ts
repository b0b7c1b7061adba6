/** Directories of one process: they say whose they are, so that whoever comes next can tell what a killed one left. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const ownerFile = (dir: string): string => join(dir, 'owner')

/** @throws Error when it is there already */
export const makeOwnedDir = (dir: string): void => {
  mkdirSync(dir, { mode: 0o700 })
  writeFileSync(ownerFile(dir), processIdentity(process.pid) ?? '')
}

/** @returns the names, without the prefix, of those in `parent` whose owner lives no more */
export const abandonedDirs = (parent: string, prefix: string): string[] =>
  readdirSync(parent)
    .filter((entry) => entry.startsWith(prefix) && !isOwned(join(parent, entry)))
    .map((entry) => entry.slice(prefix.length))

const isOwned = (dir: string): boolean => {
  if (!existsSync(ownerFile(dir))) return false
  const owner = readFileSync(ownerFile(dir), 'utf8')
  return owner !== '' && processIdentity(Number.parseInt(owner)) === owner
}

/** Pid and start time: pids come again. */
const processIdentity = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`
  } catch {
    return undefined
  }
}
