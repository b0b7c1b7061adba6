/** What a fleet's scheduler stands on, as processes of this benchmark: nats-server and the scheduler itself, from their own entry points. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { repoRoot, toolPath } from '../../../scripts/setup/paths.ts'
import type { SchedulerConfig } from '../../../services/scheduler/config.ts'
import { freePort } from '../../../scripts/free-ports.ts'

export const internalToken = 'benchmark-token-of-the-scheduler'
const natsLogin = { user: 'bench', password: 'bench-password' }

export interface SchedulerProcesses {
  readonly nats: Omit<NatsProcess, 'stop'>
  readonly schedulerUrl: string
  /** CPU time of the scheduler so far. */
  schedulerCpuSeconds(): number
  stop(): Promise<void>
}

const untilAnswers = async (url: string, child: ChildProcess): Promise<void> => {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`${url}: the process ended with ${child.exitCode}`)
    if (
      await fetch(url).then(
        (reply) => reply.ok,
        () => false,
      )
    )
      return
    await delay(50)
  }
  throw new Error(`${url} does not answer`)
}

const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const killed = setTimeout(() => child.kill('SIGKILL'), 5_000)
  await once(child, 'exit')
  clearTimeout(killed)
}

/** Processes and their files, ended in the order opposite to that of their start. */
class Processes {
  readonly dir = mkdtempSync(join(tmpdir(), 'forkyard-bench-'))
  readonly #children: ChildProcess[] = []

  run(command: string, args: readonly string[]): ChildProcess {
    // However this process ends, so do they.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], { stdio: 'ignore' })
    this.#children.unshift(child)
    return child
  }

  async stop(): Promise<void> {
    for (const child of this.#children) await stop(child)
    rmSync(this.dir, { recursive: true, force: true })
  }
}

export interface NatsProcess {
  readonly url: string
  readonly login: typeof natsLogin
  stop(): Promise<void>
}

const runNats = async (processes: Processes): Promise<string> => {
  const [port, monitorPort] = [await freePort(), await freePort()]
  const login = ['--user', natsLogin.user, '--pass', natsLogin.password]
  const listen = ['-a', '127.0.0.1', '-p', String(port), '-m', String(monitorPort)]
  const nats = processes.run(toolPath('nats-server'), [...listen, ...login, '-js', '-sd', join(processes.dir, 'nats')])
  await untilAnswers(`http://127.0.0.1:${monitorPort}/healthz`, nats)
  return `nats://127.0.0.1:${port}`
}

export const startNats = async (): Promise<NatsProcess> => {
  const processes = new Processes()
  try {
    return { url: await runNats(processes), login: natsLogin, stop: () => processes.stop() }
  } catch (error) {
    await processes.stop()
    throw error
  }
}

/** @param profileDir where the scheduler leaves a CPU profile when it ends */
export const startSchedulerProcesses = async (profileDir?: string): Promise<SchedulerProcesses> => {
  const processes = new Processes()
  try {
    const natsUrl = await runNats(processes)
    const port = await freePort()
    const config: SchedulerConfig = {
      listen: { host: '127.0.0.1', port },
      internalToken,
      nodeToken: internalToken,
      nats: { servers: [natsUrl], ...natsLogin, replicas: 1 },
      nodeTimeoutMs: 5_000,
      pools: [],
      logLevel: 'error',
    }
    const file = join(processes.dir, 'scheduler.json')
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
    const profile = profileDir ? ['--cpu-prof', '--cpu-prof-dir', profileDir] : []
    const main = join(repoRoot, 'services/scheduler/main.ts')
    const scheduler = processes.run(process.execPath, [...profile, main, '--config', file])
    const schedulerUrl = `http://127.0.0.1:${port}`
    await untilAnswers(`${schedulerUrl}/readyz`, scheduler)
    return {
      nats: { url: natsUrl, login: natsLogin },
      schedulerUrl,
      schedulerCpuSeconds: () => cpuSeconds(scheduler.pid),
      stop: () => processes.stop(),
    }
  } catch (error) {
    await processes.stop()
    throw error
  }
}

/** Of the kernel's clock ticks there are a hundred in a second. */
const ticksPerSecond = 100

const cpuSeconds = (pid: number | undefined): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}
