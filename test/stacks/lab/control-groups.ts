/** The control groups in which a host of a lab runs: its memory is bounded, and everything in it can be found and ended. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const root = '/sys/fs/cgroup'
const isUnified = existsSync(join(root, 'cgroup.controllers'))
/** On version 1 a host gets these for itself; on version 2 there is one hierarchy. */
const controllers = isUnified ? [''] : ['memory', 'cpu', 'pids']
/** A kubelet wants its group in every one. */
const hierarchies = isUnified ? [''] : readdirSync(root).filter((name) => existsSync(join(root, name, 'cgroup.procs')))

/** A group's directory in every hierarchy. */
export const groupDirs = (name: string): string[] => hierarchies.map((hierarchy) => join(root, hierarchy, name))

/** @returns files that take the pid of a process that joins */
export const makeGroups = (name: string, memoryMiB: number, everywhere = false): string[] => {
  const dirs = (everywhere ? hierarchies : controllers).map((hierarchy) => join(root, hierarchy, name))
  for (const dir of dirs) mkdirSync(dir, { recursive: true })
  // Empty at first, and nobody may join then.
  for (const file of ['cpuset.cpus', 'cpuset.mems'])
    for (const dir of dirs.filter((made) => existsSync(join(made, file)) && !isUnified))
      writeFileSync(join(dir, file), readFileSync(join(dir, '..', file)))
  for (const [file, controller] of [
    ['memory.limit_in_bytes', 'memory'],
    ['memory.max', ''],
  ] as const) {
    const path = join(root, controller, name, file)
    if (existsSync(path)) writeFileSync(path, String(memoryMiB * 1024 * 1024))
  }
  return dirs.map((dir) => join(dir, 'cgroup.procs'))
}

/** Groups that exist, of any host whose group's name begins so. */
export const groupsBeginning = (prefix: string): string[] => [
  ...new Set(
    groupDirs('').flatMap((dir) => (existsSync(dir) ? readdirSync(dir).filter((name) => name.startsWith(prefix)) : [])),
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
    const all = groupDirs(name)
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
