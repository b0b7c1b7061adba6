/** What a fleet's scheduler stands on, as processes of this benchmark: nats-server and the scheduler itself, from their own entry points. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { repoRoot, toolPath } from '../../../scripts/setup/paths.ts'
import type { SchedulerConfig } from '../../../services/scheduler/config.ts'
import { firstNice } from '../../../stacks/host-scripts/service-spec.ts'
import { freePort } from '../../../scripts/free-ports.ts'
import { MeasuredProcess } from './measured-process.ts'
import type { ScheduleRow } from './row.ts'

export const internalToken = 'benchmark-token-of-the-scheduler'
const natsLogin = { user: 'bench', password: 'bench-password' }

/** What a process of simulated nodes is told. */
export interface NodesInput {
  readonly nats: Omit<NatsProcess, 'stop'>
  readonly token: string
  /** Numbers of its nodes. */
  readonly indexes: readonly number[]
  readonly functions: number
  readonly keepAliveMs: number
  /** Where it takes invocations. */
  readonly socketPath: string
}
export type NodesOrder = 'stop'

/** What the process of the gateways is told. */
export interface LoadInput {
  readonly schedulerUrl: string
  readonly token: string
  readonly nodes: number
  readonly functions: number
  readonly keepAliveMs: number
  readonly perSecond: number
  readonly seconds: number
  /** Of the processes of nodes; node `n` is in the `n % length`th. */
  readonly socketPaths: readonly string[]
}

/** What it found. */
export interface LoadResult extends Omit<
  ScheduleRow,
  'name' | 'nodes' | 'functions' | 'keepAliveMs' | 'cpuSecondsPerMillion' | 'processes'
> {
  readonly placements: number
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

const probe = join(import.meta.dirname, 'process-probe.ts')

/** Processes and their files, ended in the order opposite to that of their start. */
export class Processes {
  readonly dir = mkdtempSync(join(tmpdir(), 'forkyard-bench-'))
  readonly #profileDir: string | undefined
  readonly #children: ChildProcess[] = []

  /** @param profileDir where Node.js processes leave CPU profiles when they end */
  constructor(profileDir?: string) {
    this.#profileDir = profileDir
  }

  /** @param first before the others, as the stack runs it */
  run(command: string, args: readonly string[], channel = false, first = false): ChildProcess {
    const nice = first ? ['nice', '-n', String(firstNice)] : []
    // However this process ends, so do they.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...nice, command, ...args], {
      stdio: channel ? ['ignore', 'ignore', 'inherit', 'ipc'] : 'ignore',
    })
    this.#children.unshift(child)
    return child
  }

  runNode(script: string, args: readonly string[], first = false): MeasuredProcess {
    const profile = this.#profileDir ? ['--cpu-prof', '--cpu-prof-dir', this.#profileDir] : []
    const child = this.run(process.execPath, [...profile, '--import', probe, script, ...args], true, first)
    return new MeasuredProcess(child, true)
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

const runNats = async (processes: Processes): Promise<{ url: string; child: ChildProcess }> => {
  const [port, monitorPort] = [await freePort(), await freePort()]
  const login = ['--user', natsLogin.user, '--pass', natsLogin.password]
  const listen = ['-a', '127.0.0.1', '-p', String(port), '-m', String(monitorPort)]
  const child = processes.run(toolPath('nats-server'), [...listen, ...login, '-js', '-sd', join(processes.dir, 'nats')])
  await untilAnswers(`http://127.0.0.1:${monitorPort}/healthz`, child)
  return { url: `nats://127.0.0.1:${port}`, child }
}

export const startNats = async (): Promise<NatsProcess> => {
  const processes = new Processes()
  try {
    return { url: (await runNats(processes)).url, login: natsLogin, stop: () => processes.stop() }
  } catch (error) {
    await processes.stop()
    throw error
  }
}

export interface SchedulerProcesses {
  readonly nats: Omit<NatsProcess, 'stop'>
  readonly natsServer: MeasuredProcess
  readonly scheduler: MeasuredProcess
  readonly schedulerUrl: string
}

export const startScheduler = async (processes: Processes): Promise<SchedulerProcesses> => {
  const nats = await runNats(processes)
  const port = await freePort()
  const config: SchedulerConfig = {
    listen: { host: '127.0.0.1', port },
    internalToken,
    nodeToken: internalToken,
    nats: { servers: [nats.url], ...natsLogin, replicas: 1 },
    nodeTimeoutMs: 5_000,
    pools: [],
    logLevel: 'error',
  }
  const file = join(processes.dir, 'scheduler.json')
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
  const main = join(repoRoot, 'services/scheduler/main.ts')
  const scheduler = processes.runNode(main, ['--config', file], true)
  const schedulerUrl = `http://127.0.0.1:${port}`
  await untilAnswers(`${schedulerUrl}/readyz`, scheduler.child)
  return {
    nats: { url: nats.url, login: natsLogin },
    natsServer: new MeasuredProcess(nats.child, false),
    scheduler,
    schedulerUrl,
  }
}

/** A child that ends by itself, and writes its profile, when it is told to on its channel. */
export const endByMessage = async ({ child }: MeasuredProcess): Promise<void> => {
  const ended = once(child, 'exit')
  child.send('stop' satisfies NodesOrder)
  await ended
}

const script = (name: string): string => join(import.meta.dirname, name)

export const startNodes = async (processes: Processes, input: NodesInput): Promise<MeasuredProcess> => {
  const nodes = processes.runNode(script('nodes-process.ts'), [JSON.stringify(input)])
  await nodes.receive('ready')
  return nodes
}

export const startLoad = (processes: Processes, input: LoadInput): MeasuredProcess =>
  processes.runNode(script('load-process.ts'), [JSON.stringify(input)])
