/**
 * Control groups of the agent's sandboxes, on the v1 hierarchy and on v2. The agent makes the groups, starts `runsc` inside them
 * and removes them, so that a group outlives no sandbox and holds the evidence until it was read.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface Limits {
  /** Function memory plus the sandbox kernel's share. */
  readonly memoryMiB: number
  /** Whole CPUs, fractions allowed. */
  readonly cpus: number
  /** Processes and threads on the host. */
  readonly pids: number
}

export interface CgroupEvidence {
  /** Times the kernel killed in this group for lack of memory. */
  readonly oomKills: number
  /** Processes and threads that the kernel refused, for the group had as many as it may. */
  readonly refusedPids: number
  readonly peakMiB: number
  readonly limitMiB: number
}

interface Layout {
  /** Directories (one a controller on v1, one in all on v2) under which groups are made. */
  readonly roots: Readonly<Record<'memory' | 'cpu' | 'pids', string>>
  readonly version: 1 | 2
}

const detectLayout = (mountPoint: string): Layout => {
  if (existsSync(join(mountPoint, 'cgroup.controllers')))
    return { version: 2, roots: { memory: mountPoint, cpu: mountPoint, pids: mountPoint } }
  const root = (name: string) => join(mountPoint, name)
  return { version: 1, roots: { memory: root('memory'), cpu: root('cpu'), pids: root('pids') } }
}

const read = (file: string): string => {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return ''
  }
}

const mib = 1024 * 1024

/** User and system time with all threads, from proc(5); its unit, USER_HZ, is 10 ms on every Linux that Node.js runs on. */
const processCpuMs = (pid: number): number => {
  const stat = read(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * 10
}

const cpuPeriodUs = 100_000
const pidShare = 0.75

export class CgroupTree {
  readonly parent: string
  readonly #layout: Layout

  /** @param parent name of the group that holds all groups of this agent; unique on the machine. */
  constructor(parent: string, mountPoint = '/sys/fs/cgroup') {
    this.parent = parent
    this.#layout = detectLayout(mountPoint)
    for (const root of this.#roots()) {
      if (this.#layout.version === 2) this.#enableControllers(root)
      mkdirSync(join(root, parent), { recursive: true })
      if (this.#layout.version === 2) this.#enableControllers(join(root, parent))
    }
    // All sandboxes together leave some of the machine's process ids to everybody else.
    const machinePids = Number(read('/proc/sys/kernel/pid_max')) || 32_768
    writeFileSync(join(this.#layout.roots.pids, parent, 'pids.max'), String(Math.floor(machinePids * pidShare)))
  }

  /** Makes the group. `tasks` files take the pid of a process that joins. */
  create(name: string): Cgroup {
    const dirs = Object.fromEntries(
      Object.entries(this.#layout.roots).map(([controller, root]) => [controller, join(root, this.parent, name)]),
    ) as Layout['roots']
    for (const dir of new Set(Object.values(dirs))) mkdirSync(dir, { recursive: true })
    return new Cgroup(dirs, this.#layout.version)
  }

  /** Names of the groups that exist, whoever made them. */
  list(): string[] {
    const names = this.#roots().flatMap((root) => {
      try {
        return readdirSync(join(root, this.parent), { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map((entry) => entry.name)
      } catch {
        return []
      }
    })
    return [...new Set(names)]
  }

  /** Removes the parent, when nothing is left in it. */
  removeParent(): void {
    for (const root of this.#roots()) if (existsSync(join(root, this.parent))) rmdirSync(join(root, this.parent))
  }

  #roots(): string[] {
    return [...new Set(Object.values(this.#layout.roots))]
  }

  #enableControllers(dir: string): void {
    writeFileSync(join(dir, 'cgroup.subtree_control'), '+memory +cpu +pids')
  }
}

export class Cgroup {
  readonly #dirs: Layout['roots']
  readonly #version: 1 | 2

  constructor(dirs: Layout['roots'], version: 1 | 2) {
    this.#dirs = dirs
    this.#version = version
  }

  /** Files to which a process writes `0` in order to join. */
  get joinFiles(): string[] {
    return [...new Set(Object.values(this.#dirs))].map((dir) => join(dir, 'cgroup.procs'))
  }

  setLimits({ memoryMiB, cpus, pids }: Limits): void {
    const { memory, cpu, pids: pidsDir } = this.#dirs
    const quota = String(Math.max(1000, Math.round(cpus * cpuPeriodUs)))
    writeFileSync(join(pidsDir, 'pids.max'), String(pids))
    if (this.#version === 2) {
      writeFileSync(join(memory, 'memory.max'), String(memoryMiB * mib))
      writeFileSync(join(memory, 'memory.swap.max'), '0', { flag: 'a' })
      writeFileSync(join(memory, 'memory.oom.group'), '1')
      writeFileSync(join(cpu, 'cpu.max'), `${quota} ${cpuPeriodUs}`)
    } else {
      writeFileSync(join(memory, 'memory.limit_in_bytes'), String(memoryMiB * mib))
      writeFileSync(join(cpu, 'cpu.cfs_period_us'), String(cpuPeriodUs))
      writeFileSync(join(cpu, 'cpu.cfs_quota_us'), quota)
    }
  }

  evidence(): CgroupEvidence {
    const { pids } = this.#dirs
    const limitMiB = this.#inMiB(this.#version === 2 ? 'memory.max' : 'memory.limit_in_bytes')
    const refusedPids = Number(/^max (\d+)$/m.exec(read(join(pids, 'pids.events')))?.[1] ?? 0)
    return { oomKills: this.oomKills(), refusedPids, peakMiB: this.peakMiB(), limitMiB }
  }

  /** Times the kernel killed in this group for lack of memory. */
  oomKills(): number {
    const events = this.#version === 2 ? 'memory.events' : 'memory.oom_control'
    return Number(/^oom_kill (\d+)$/m.exec(read(join(this.#dirs.memory, events)))?.[1] ?? 0)
  }

  /** Whether the kernel kills all of the group when it has no memory left. On v1 it kills one process, for which the others may wait for ever. */
  get diesWhole(): boolean {
    return this.#version === 2
  }

  peakMiB(): number {
    return this.#inMiB(this.#version === 2 ? 'memory.peak' : 'memory.max_usage_in_bytes')
  }

  /** What the group holds now, without what the page cache could give back at once. */
  memoryMiB(): number {
    const { memory } = this.#dirs
    const stat = read(join(memory, 'memory.stat'))
    const field = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0)
    return Math.ceil((this.#version === 2 ? field('anon') + field('shmem') : field('rss') + field('shmem')) / mib)
  }

  /** CPU time of the processes that run in it now, milliseconds; to a hundredth of a second. */
  cpuMs(): number {
    return this.pids().reduce((sum, pid) => sum + processCpuMs(pid), 0)
  }

  pids(): number[] {
    return this.joinFiles.flatMap((file) => read(file).split('\n').filter(Boolean).map(Number))
  }

  /** Kills everything in the group, again and again until it is empty, then removes it. Idempotent. */
  async destroy(): Promise<void> {
    for (let round = 0; round < 200; round++) {
      const pids = new Set(this.pids())
      if (pids.size === 0 && this.#remove()) return
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // Gone already.
        }
      }
      await delay(round < 10 ? 2 : 25)
    }
    throw new Error(`control group ${this.#dirs.memory} does not empty`)
  }

  #inMiB(file: string): number {
    return Math.ceil((Number(read(join(this.#dirs.memory, file))) || 0) / mib)
  }

  #remove(): boolean {
    for (const dir of new Set(Object.values(this.#dirs))) {
      try {
        rmdirSync(dir)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return false
      }
    }
    return true
  }
}
