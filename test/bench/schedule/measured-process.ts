/** A process of the benchmark and what it took between two moments: of the CPU, of waiting for one, and of its own event loop. */
import type { ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import type { Probed, ProbeMessage, ProbeOrder } from './process-probe.ts'
import { round, type ProcessFigures } from './row.ts'

/** Of the kernel's clock ticks there are a hundred in a second. */
const ticksPerSecond = 100

interface Taken {
  readonly at: number
  readonly cpuSeconds: number
  readonly waitedSeconds: number
}

export class MeasuredProcess {
  readonly child: ChildProcess
  readonly #probed: boolean
  #begun: Taken | undefined

  /** @param probed it was started with the probe, and with a channel */
  constructor(child: ChildProcess, probed: boolean) {
    this.child = child
    this.#probed = probed
  }

  /** The next message of the kind. @throws Error when the process ends before it */
  async receive<T>(kind: string): Promise<T> {
    const { child } = this
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const onMessage = (message: { readonly kind: string }): void => {
      if (message.kind === kind) resolve(message as T)
    }
    const onExit = (): void =>
      reject(new Error(`a process of the benchmark ended before it said ${kind}: ${child.spawnargs.join(' ')}`))
    child.on('message', onMessage).once('exit', onExit)
    try {
      return await promise
    } finally {
      child.off('message', onMessage).off('exit', onExit)
    }
  }

  begin(): void {
    this.#begun = this.#taken()
    if (this.#probed) this.child.send('probe-again' satisfies ProbeOrder)
  }

  /** @param placements of the time since `begin` */
  async figures(placements: number): Promise<ProcessFigures> {
    const [before, now] = [this.#begun, this.#taken()]
    if (!before) throw new Error('not begun')
    const tookSeconds = (now.at - before.at) / 1000
    const cpuSeconds = now.cpuSeconds - before.cpuSeconds
    return {
      cpuSecondsPerMillion: round((cpuSeconds / placements) * 1e6),
      cpus: round(cpuSeconds / tookSeconds),
      waitedForCpuShare: round((now.waitedSeconds - before.waitedSeconds) / tookSeconds),
      ...(this.#probed ? await this.#ask() : {}),
    }
  }

  async #ask(): Promise<Probed> {
    const told = this.receive<ProbeMessage>('probed')
    this.child.send('probe-tell' satisfies ProbeOrder)
    return (await told).probed
  }

  #taken(): Taken {
    const pid = this.child.pid ?? 0
    return { at: performance.now(), cpuSeconds: cpuSeconds(pid), waitedSeconds: waitedSeconds(pid) }
  }
}

const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** Ready to run while others ran; of its threads, the one that waited most. */
const waitedSeconds = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`).reduce(
    (most, thread) =>
      Math.max(most, Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[1]) / 1e9),
    0,
  )
