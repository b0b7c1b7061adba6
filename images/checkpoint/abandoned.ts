/** Which places of checkpoint builders belong to nobody any more. */
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'

const prefix = 'fy-checkpoint-'

/** Number of this process's namespace of pids: builders in different pods of one machine may have the same pid, and share its control groups. */
export const pidNamespace = (): string => /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0'

/** Of the directory and the control groups of one builder; unique on the machine. */
export const builderName = (pid: number, namespace = pidNamespace()): string => `${prefix}${namespace}-${pid}`

const parse = (name: string): { readonly namespace: string; readonly pid: number } | undefined => {
  const [, namespace, pid] = new RegExp(`^${prefix}(\\d+)-(\\d+)$`).exec(name) ?? []
  return namespace === undefined ? undefined : { namespace, pid: Number(pid) }
}

const namesIn = (dir: string): string[] => {
  try {
    return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
  } catch {
    return []
  }
}

/** In the groups of a dead builder nothing is; in those of one that begins just now there may be nothing yet. */
const beginsWithinMs = 3_600_000

const isEmptyForLong = (group: string): boolean => {
  const isEmpty = [group, ...namesIn(group).map((name) => join(group, name))].every(
    (dir) => readFileSync(join(dir, 'cgroup.procs'), 'utf8').trim() === '',
  )
  return isEmpty && Date.now() - statSync(group).mtimeMs > beginsWithinMs
}

/** @returns names; whoever removes one removes its directory and its groups */
export const abandonedBuilders = (runParent: string, groupRoot: string, namespace = pidNamespace()): string[] => {
  const groupDirs = [groupRoot, ...namesIn(groupRoot).map((name) => join(groupRoot, name))]
  const groups = groupDirs.flatMap((dir) => namesIn(dir).map((name) => join(dir, name)))
  const groupsOf = (name: string) => groups.filter((group) => group.endsWith(`/${name}`))
  const names = new Set([...namesIn(runParent), ...groups.map((group) => group.slice(group.lastIndexOf('/') + 1))])
  return [...names].filter((name) => {
    const owner = parse(name)
    if (!owner) return false
    if (owner.namespace === namespace) return !existsSync(`/proc/${owner.pid}`)
    const own = groupsOf(name)
    return own.length > 0 && own.every(isEmptyForLong)
  })
}
