/** Which processes of this machine belong to an installation. Found by what they run, never by a stored pid. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** In the environment of every command that runs for an installation, and of what these start, but of no service. */
export const ownerVariable = 'FORKYARD_INSTALLATION'

export interface ProcessInfo {
  readonly pid: number
  readonly argv: readonly string[]
  readonly cwd: string
}

export interface InstallationDirs {
  readonly stateDir: string
  readonly runDir: string
}

/** A process that ended while it was read, or that has no command line (a zombie, a kernel thread), is left out. */
export const listProcesses = (): ProcessInfo[] =>
  readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((entry) => {
      try {
        const argv = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0').slice(0, -1)
        return argv.length > 0 ? [{ pid: Number(entry), argv, cwd: linkOf(`/proc/${entry}/cwd`) }] : []
      } catch {
        return []
      }
    })

const linkOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

export type Role = 'supervisor' | 'service' | 'log' | 'sandbox'

/**
 * What the process is to the installation (to one service of it, when `service` is given), or nothing. A person's editor or
 * `tail` on its files is nothing.
 */
export const roleOf = (info: ProcessInfo, dirs: InstallationDirs, service?: string): Role | undefined => {
  const program = basename(info.argv[0] ?? '')
  const below = (dir: string) => (text: string) =>
    service === undefined ? text.startsWith(`${dir}/`) : `${text}/`.startsWith(`${dir}/${service}/`)
  const names = (dir: string) => info.argv.some(below(dir))
  if (program === 'runsvdir' && names(`${dirs.stateDir}/runit`)) return 'supervisor'
  if (program === 'runsv' && below(`${dirs.stateDir}/runit`)(info.cwd)) return 'supervisor'
  if (program === 'svlogd' && names(`${dirs.stateDir}/log`)) return 'log'
  if (['node', 'nats-server'].includes(program) && names(`${dirs.stateDir}/services`)) return 'service'
  const sandboxes = `${dirs.runDir}/`
  const isSandbox = service === undefined && info.argv.some((word) => word.includes(sandboxes))
  return program.startsWith('runsc') && isSandbox ? 'sandbox' : undefined
}

export const processesOf = (dirs: InstallationDirs, service?: string): { info: ProcessInfo; role: Role }[] =>
  listProcesses().flatMap((info) => {
    const role = roleOf(info, dirs, service)
    return role ? [{ info, role }] : []
  })

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch {
    // Gone already.
  }
}

/** Kills whatever `find` still finds, in rounds: supervisors first, or they would start the rest again. */
export const killAll = async (find: () => { info: ProcessInfo; role: Role }[]): Promise<void> => {
  for (let round = 0; round < 100; round++) {
    const found = find()
    if (found.length === 0) return
    const supervisors = found.filter(({ role }) => role === 'supervisor')
    for (const { info } of supervisors.length > 0 ? supervisors : found) signal(info.pid, 'SIGKILL')
    await delay(20)
  }
  throw new Error(
    `processes do not end: ${find()
      .map(({ info }) => `${info.pid} ${info.argv[0]}`)
      .join(', ')}`,
  )
}
