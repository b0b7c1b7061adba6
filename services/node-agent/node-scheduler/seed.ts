/**
 * A sandbox in which a function is loaded and nothing is served: its first process is forked, and each fork is an instance. Forks are
 * told apart by sockets in the seed's directory, killed one by one through the seed, and end with its sandbox.
 */
import { randomBytes } from 'node:crypto'
import type { VersionConfig } from '../../contracts/function.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { ForkLimits } from '../../contracts/runtime-api.ts'
import type { InstanceBody, InstanceEndpoint, NodeGateway, SandboxExit } from '../instance.ts'
import type { Limits } from '../sandbox/cgroup.ts'
import type { Sandbox } from '../sandbox/sandbox.ts'
import { ForkBody, forkExit } from './fork-body.ts'
import { openForkOutput, type ForkChannel, type SeedMessage } from './fork-channel.ts'

export interface SeedDeps {
  readonly sandbox: Sandbox
  readonly endpoint: InstanceEndpoint
  readonly channel: ForkChannel
  readonly config: VersionConfig
  readonly gateway: NodeGateway
  /** Host directory of the sockets. */
  readonly directory: string
  readonly maxForks: number
  /** Of a sandbox with so many forks, some of which start now. */
  readonly limits: (forks: number, starting: boolean) => Limits
  /** What it was told that each fork may use. */
  readonly forkLimits: ForkLimits
}

/** An instance that is one process of a seed's sandbox. */
export interface Fork {
  readonly sandbox: InstanceBody
  readonly endpoint: InstanceEndpoint
  readonly seed: Seed
  /** As the seed last saw it, MiB. */
  peakMemoryMiB(): number
}

interface Child {
  readonly body: ForkBody
  readonly forked: PromiseWithResolvers<void>
  /** Waits at its socket for its first request. */
  parked: boolean
}

const forkMs = 5_000
const killMs = 2_000

export class Seed {
  readonly #deps: SeedDeps
  readonly #children = new Map<string, Child>()
  /** Of the sandbox right after the initialisation, MiB. */
  readonly #freshMiB: number
  #starting = 0
  #retired: string | undefined
  #lost: SandboxExit | undefined
  /** Forks made so far. */
  forks = 0
  /** `performance.now()` of the last time that an instance was made of it. */
  lastUsedAt = performance.now()

  constructor(deps: SeedDeps) {
    this.#deps = deps
    this.#freshMiB = deps.sandbox.memoryMiB()
    void deps.sandbox.exited.then((exit) => this.#sandboxEnded(exit))
  }

  get id(): string {
    return this.#deps.sandbox.id
  }

  get config(): VersionConfig {
    return this.#deps.config
  }

  get exited(): Promise<SandboxExit> {
    return this.#deps.sandbox.exited
  }

  /** Why it is forked no more. */
  get retired(): string | undefined {
    return this.#retired ?? this.#lost?.reason
  }

  get children(): number {
    return this.#children.size
  }

  /** Children that are instances of somebody. */
  get serving(): number {
    return [...this.#children.values()].filter(({ parked }) => !parked).length
  }

  get isFull(): boolean {
    return this.#children.size >= this.#deps.maxForks
  }

  get state(): SeedState {
    const { forks, children } = this
    return { forks, children, memoryMiB: this.#deps.sandbox.memoryMiB(), freshMiB: this.#freshMiB }
  }

  /** CPU time of its sandbox, children included, milliseconds. */
  cpuMs(): number {
    return this.#deps.sandbox.cpuMs()
  }

  /** @throws when the seed is gone, full or refuses. Nothing of the fork is left then. */
  async fork(parked: boolean): Promise<Fork> {
    const { gateway, directory, config, channel } = this.#deps
    if (this.retired !== undefined || this.isFull) throw new Error(`the seed is ${this.retired ?? 'full'}`)
    const id = randomBytes(8).toString('hex')
    const body = new ForkBody(id, () => this.#kill(id))
    const forked = Promise.withResolvers<void>()
    forked.promise.catch(() => undefined)
    let output: { close(): void } | undefined
    // Known from before anything of it exists: a seed that ends takes it along.
    this.#children.set(id, { body, forked, parked })
    this.#starting++
    this.forks++
    this.#limit()
    let endpoint: InstanceEndpoint | undefined
    try {
      const opened = await gateway.openEndpoint(id, `${directory}/${id}.sock`)
      endpoint = opened
      opened.expect(config)
      output = await openForkOutput(`${directory}/${id}.log`, (stdout, stderr) => opened.attachLogs(stdout, stderr))
      const timer = setTimeout(() => {
        void this.#deps.sandbox.end({ reason: 'killed', detail: 'its seed does not answer' })
      }, forkMs)
      channel.fork(id, randomBytes(32))
      await forked.promise.finally(() => clearTimeout(timer))
    } catch (error) {
      this.#starting--
      this.#forget(id, { reason: 'killed', detail: 'the fork failed' })
      await endpoint?.close({ reason: 'killed', detail: 'the fork failed' })
      output?.close()
      throw error
    }
    const made = endpoint
    void body.exited.then((exit) => made.close(exit)).then(() => output?.close())
    void this.#started(Promise.race([made.pulled, body.exited]))
    return { sandbox: body, endpoint, seed: this, peakMemoryMiB: () => body.peakMemoryMiB }
  }

  async #started(start: Promise<unknown>): Promise<void> {
    await start
    this.#starting--
    this.#limit()
  }

  /** A parked fork becomes an instance. */
  taken({ sandbox }: Fork): void {
    const child = this.#children.get(sandbox.id)
    if (child) child.parked = false
    this.lastUsedAt = performance.now()
  }

  /** Is forked no more; parked forks end now, the seed with its last child. */
  retire(reason: string): void {
    if (this.#retired !== undefined) return
    this.#retired = reason
    const exit: SandboxExit = { reason: 'killed', detail: `the seed was retired: ${reason}` }
    for (const { parked, body } of this.#children.values()) if (parked) void body.end(exit)
    this.#endWhenEmpty()
  }

  /** Ends it with all its children. */
  async end(exit: SandboxExit): Promise<void> {
    this.#retired ??= exit.detail
    await this.#deps.sandbox.end(exit)
    await this.#deps.sandbox.removed
  }

  hear(message: SeedMessage): void {
    const child = this.#children.get(message.id)
    if (!child) return
    if (message.what === 'forked') return child.forked.resolve()
    if (message.what === 'failed') return child.forked.reject(new Error(`fork: errno ${message.errno}`))
    if (message.what === 'used') return child.body.noteMemory(message.memoryMiB)
    this.#forget(message.id, forkExit(message, this.#deps.forkLimits, child.body.peakMemoryMiB))
  }

  #kill(id: string): void {
    if (!this.#children.has(id)) return
    this.#deps.channel.kill(id)
    // Whoever cannot be killed alone is killed with its sandbox.
    setTimeout(() => {
      if (this.#children.has(id))
        void this.#deps.sandbox.end({ reason: 'killed', detail: 'one of its forks could not be killed' })
    }, killMs).unref()
  }

  #forget(id: string, exit: SandboxExit): void {
    const child = this.#children.get(id)
    if (!child) return
    this.#children.delete(id)
    child.forked.reject(new PlatformError('INSTANCE_LOST', `the fork ended: ${exit.detail}`))
    child.body.finish(exit)
    this.#limit()
    this.#endWhenEmpty()
  }

  #sandboxEnded(exit: SandboxExit): void {
    this.#lost = exit
    this.#deps.channel.close()
    for (const id of this.#children.keys()) this.#forget(id, { ...exit, detail: `its seed's sandbox: ${exit.detail}` })
    void this.#deps.endpoint.close(exit)
  }

  #endWhenEmpty(): void {
    if (this.#retired !== undefined && this.#children.size === 0)
      void this.#deps.sandbox.end({ reason: 'killed', detail: `retired: ${this.#retired}` })
  }

  /** Lowering below what is in use is refused by the kernel; the next change tries again. */
  #limit(): void {
    try {
      this.#deps.sandbox.setLimits(this.#deps.limits(this.#children.size, this.#starting > 0))
    } catch {
      // As above.
    }
  }
}

export interface SeedState {
  readonly forks: number
  readonly children: number
  readonly memoryMiB: number
  readonly freshMiB: number
}

/** A seed that holds more than this above what it and its children may is leaking. */
const driftMiB = 64

/** Pure: why the seed should be made anew. */
export const renewalReason = (
  { forks, children, memoryMiB, freshMiB }: SeedState,
  functionMiB: number,
  maxForks: number,
): string | undefined => {
  if (forks >= maxForks) return 'forks'
  return memoryMiB > freshMiB + children * functionMiB + driftMiB ? 'memory' : undefined
}
