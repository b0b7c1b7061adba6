/** What a fleet's scheduler stands on, as processes of this benchmark: nats-server and the scheduler itself, from their own entry points. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { repoRoot, toolPath } from '../../../scripts/setup/paths.ts'
import type { SchedulerConfig } from '../../../services/scheduler/config.ts'

export const internalToken = 'benchmark-token-of-the-scheduler'
const natsUser = { user: 'bench', password: 'bench-password' }

export interface SchedulerProcesses {
  readonly natsUrl: string
  readonly natsUser: typeof natsUser
  readonly schedulerUrl: string
  /** CPU time of the scheduler so far. */
  schedulerCpuSeconds(): number
  stop(): Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
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

/** @param profileDir where the scheduler leaves a CPU profile when it ends */
export const startSchedulerProcesses = async (profileDir?: string): Promise<SchedulerProcesses> => {
  const dir = mkdtempSync(join(tmpdir(), 'forkyard-schedule-'))
  const children: ChildProcess[] = []
  const run = (command: string, args: readonly string[]): ChildProcess => {
    const child = spawn(command, args, { stdio: 'ignore' })
    children.unshift(child)
    return child
  }
  const stopAll = async (): Promise<void> => {
    for (const child of children) await stop(child)
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const [natsPort, monitorPort, schedulerPort] = [await freePort(), await freePort(), await freePort()]
    const login = ['--user', natsUser.user, '--pass', natsUser.password]
    const listen = ['-a', '127.0.0.1', '-p', String(natsPort), '-m', String(monitorPort)]
    const nats = run(toolPath('nats-server'), [...listen, ...login, '-js', '-sd', join(dir, 'nats')])
    await untilAnswers(`http://127.0.0.1:${monitorPort}/healthz`, nats)
    const natsUrl = `nats://127.0.0.1:${natsPort}`
    const config: SchedulerConfig = {
      listen: { host: '127.0.0.1', port: schedulerPort },
      internalToken,
      nats: { servers: [natsUrl], ...natsUser, replicas: 1 },
      nodeTimeoutMs: 5_000,
      logLevel: 'error',
    }
    const file = join(dir, 'scheduler.json')
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
    const profile = profileDir ? ['--cpu-prof', '--cpu-prof-dir', profileDir] : []
    const main = join(repoRoot, 'services/scheduler/main.ts')
    const scheduler = run(process.execPath, [...profile, main, '--config', file])
    const schedulerUrl = `http://127.0.0.1:${schedulerPort}`
    await untilAnswers(`${schedulerUrl}/readyz`, scheduler)
    return { natsUrl, natsUser, schedulerUrl, schedulerCpuSeconds: () => cpuSeconds(scheduler.pid), stop: stopAll }
  } catch (error) {
    await stopAll()
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
