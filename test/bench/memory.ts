/** Memory of sandboxes: proportional set size, so that pages which instances share are not counted twice. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const groupDir = (parent: string): string =>
  ['/sys/fs/cgroup/memory', '/sys/fs/cgroup'].map((root) => join(root, parent)).find((dir) => existsSync(dir)) ?? ''

const pssKiB = (pid: string): number => {
  try {
    return Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** Sum over all processes in the control groups below `parent`, MiB. */
export const totalPssMiB = (parent: string): number => {
  const root = groupDir(parent)
  if (!root) return 0
  const pids = readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) =>
      readFileSync(join(root, entry.name, 'cgroup.procs'), 'utf8')
        .split('\n')
        .filter(Boolean),
    )
  return pids.reduce((sum, pid) => sum + pssKiB(pid), 0) / 1024
}
