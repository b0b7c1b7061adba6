/**
 * Services under runit. Each has a `runsvdir` of its own, in a session of its own, so that a start needs no scan interval and
 * the end of one supervisor touches one service:
 *
 *   runsvdir <stateDir>/runit/<name>  ->  runsv  ->  the service, svlogd <stateDir>/log/<name>
 */
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { shellQuote } from '../shell-quote.ts'
import { fileDrift } from './drift.ts'
import { killAll, processesOf } from './processes.ts'
import { firstNice, type ServiceSpec } from './service-spec.ts'
import type { Supervisor } from './supervisor.ts'
import { writeFileIfChanged } from './write-file.ts'

const exec = promisify(execFile)

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The service dies with its `runsv`: a new one must never start a second copy beside an orphan. */
export const runScript = ({ command, privileges, first }: ServiceSpec): string => {
  const drop = privileges === 'none' ? ' --no-new-privs --inh-caps -all --bounding-set -all,+dac_read_search' : ''
  const nice = first ? `nice -n ${firstNice} ` : ''
  return `#!/bin/sh
exec 2>&1
exec env -i PATH=${path} HOME=/nonexistent ${nice}setpriv --pdeathsig KILL${drop} ${command.map(shellQuote).join(' ')}
`
}

const logScript = (logDir: string): string => `#!/bin/sh\nexec svlogd ${shellQuote(logDir)}\n`

/** Five files of 10 MB. */
const logConfig = 's10485760\nn5\n'

const scanDir = (spec: ServiceSpec): string => join(spec.stateDir, 'runit', spec.name)
const serviceDir = (spec: ServiceSpec): string => join(scanDir(spec), spec.name)
const logDir = (spec: ServiceSpec): string => join(spec.stateDir, 'log', spec.name)

const owned = (spec: ServiceSpec) => processesOf({ stateDir: spec.stateDir, runDir: '/nonexistent' }, spec.name)

export class RunitSupervisor implements Supervisor {
  async ensure(spec: ServiceSpec, changed: boolean): Promise<void> {
    const dir = serviceDir(spec)
    mkdirSync(logDir(spec), { recursive: true, mode: 0o700 })
    writeFileIfChanged(join(logDir(spec), 'config'), logConfig)
    writeFileIfChanged(join(dir, 'log', 'run'), logScript(logDir(spec)), 0o700)
    const scriptChanged = writeFileIfChanged(join(dir, 'run'), runScript(spec), 0o700)
    const wasRunning = isSupervised(spec)
    await this.repair(spec)
    if (wasRunning && (changed || scriptChanged)) await sv('force-restart', spec)
  }

  async hasProcesses(spec: ServiceSpec): Promise<boolean> {
    return owned(spec).length > 0
  }

  async drift(spec: ServiceSpec): Promise<string[]> {
    const differs = fileDrift(join(serviceDir(spec), 'run'), runScript(spec))
    return [...differs, ...((await this.hasProcesses(spec)) ? [] : [`${spec.name} does not run`])]
  }

  async repair(spec: ServiceSpec): Promise<void> {
    if (isSupervised(spec)) return
    // Whatever lives without its supervisor (which was killed) would be in the way of the new one.
    await this.#end(spec)
    const supervisor = spawn('runsvdir', ['-P', scanDir(spec)], {
      cwd: '/',
      detached: true,
      stdio: 'ignore',
      env: { PATH: path },
    })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    supervisor.once('spawn', resolve).once('error', reject)
    await promise
    supervisor.unref()
    // `sv` reaches a service only once its runsv listens.
    for (let round = 0; round < 200 && !(await isControllable(spec)); round++) await delay(20)
  }

  async remove(spec: ServiceSpec): Promise<void> {
    await this.#end(spec)
    rmSync(scanDir(spec), { recursive: true, force: true })
    rmSync(logDir(spec), { recursive: true, force: true })
  }

  async lastLogLines(spec: ServiceSpec, count: number): Promise<string> {
    try {
      return readFileSync(join(logDir(spec), 'current'), 'utf8')
        .trimEnd()
        .split('\n')
        .slice(-count)
        .join('\n')
    } catch {
      return '(no log)'
    }
  }

  /** First the `runsvdir`, which would start a new `runsv`; then the service in peace; then whatever is left. */
  async #end(spec: ServiceSpec): Promise<void> {
    await killAll(() => owned(spec).filter(({ info }) => info.argv[0]?.endsWith('runsvdir')))
    if (owned(spec).some(({ role }) => role === 'supervisor')) await sv('force-shutdown', spec)
    await killAll(() => owned(spec))
  }
}

const isSupervised = (spec: ServiceSpec): boolean => {
  const supervisors = owned(spec).filter(({ role }) => role === 'supervisor')
  return supervisors.some(({ info }) => info.argv[0]?.endsWith('runsvdir'))
}

const isControllable = async (spec: ServiceSpec): Promise<boolean> => {
  try {
    await exec('sv', ['status', serviceDir(spec)])
    return true
  } catch {
    return false
  }
}

/** `sv` exits with 1 when it had to kill: that is no error here. */
const sv = async (verb: 'force-restart' | 'force-shutdown', spec: ServiceSpec): Promise<void> => {
  const wait = String(Math.ceil(spec.graceMs / 1000))
  await exec('sv', ['-w', wait, verb, serviceDir(spec)]).catch(() => undefined)
}
