/** The control groups in which a host of a lab runs: its memory is bounded, and everything in it can be found and ended. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const root = '/sys/fs/cgroup'
/** On version 1 a host gets these for itself; on version 2 there is one hierarchy. */
const controllers = existsSync(join(root, 'cgroup.controllers')) ? [''] : ['memory', 'cpu', 'pids']

const groups = (name: string): string[] => controllers.map((controller) => join(root, controller, name))

export const makeGroups = (name: string, memoryMiB: number): string[] => {
  for (const dir of groups(name)) mkdirSync(dir, { recursive: true })
  for (const [file, controller] of [
    ['memory.limit_in_bytes', 'memory'],
    ['memory.max', ''],
  ] as const) {
    const path = join(root, controller, name, file)
    if (existsSync(path)) writeFileSync(path, String(memoryMiB * 1024 * 1024))
  }
  return groups(name).map((dir) => join(dir, 'cgroup.procs'))
}

/** Groups that exist, of any host whose group's name begins so. */
export const groupsBeginning = (prefix: string): string[] => [
  ...new Set(
    groups('').flatMap((dir) => (existsSync(dir) ? readdirSync(dir).filter((name) => name.startsWith(prefix)) : [])),
  ),
]

const subtree = (dir: string): string[] => [
  ...readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => subtree(join(dir, entry.name))),
  dir,
]

/** Kills everything in them; a power cut. @param remove takes the groups away as well */
export const endGroups = async (name: string, remove: boolean): Promise<void> => {
  for (let round = 0; round < 200; round++) {
    const all = groups(name)
      .filter((dir) => existsSync(dir))
      .flatMap(subtree)
    const pids = all.flatMap((dir) => readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean))
    for (const pid of new Set(pids)) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // Gone already.
      }
    }
    if (pids.length === 0 && (!remove || all.every(tryRemove))) return
    await delay(25)
  }
  throw new Error(`the control groups ${name} do not empty`)
}

const tryRemove = (dir: string): boolean => {
  try {
    rmdirSync(dir)
    return true
  } catch {
    return false
  }
}
