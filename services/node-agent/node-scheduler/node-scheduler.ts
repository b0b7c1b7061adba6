/** The instances of this node: started by command, watched, ended by command, by their policy or by their own death. */
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { InstanceReport, StartInstance } from '../../contracts/node.ts'
import { revisionKey, type RevisionRef } from '../../contracts/placement.ts'
import type { NodeGateway, SandboxExit, WaitingRequest } from '../instance.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import type { CachePlan } from './cache/cache-plan.ts'
import { reportOf, startTypeOf, type Entry } from './instance-entry.ts'
import { isNodesFault, SandboxFailed } from './node-fault.ts'
import type { Revisions } from './revisions.ts'
import { Sandbox } from '../sandbox/sandbox.ts'
import { endInstance } from './sandbox-maker.ts'
import type { SandboxStarter } from './sandbox-starter.ts'

export interface NodeSchedulerDeps {
  readonly gateway: NodeGateway
  readonly starter: Pick<SandboxStarter, 'start'>
  readonly revisions: Revisions
  readonly logger: Logger
  readonly startParallelism: number
  readonly maxInstances: number
  readonly plan: Pick<CachePlan, 'startCommanded' | 'started' | 'keepAliveMs'> & {
    readonly habits: Pick<CachePlan['habits'], 'startEnded'>
  }
  /** What is held for later gives way to the starts that are queued. Resolves when it is gone. */
  readonly makeRoom: () => Promise<void>
  /** No start runs: what is worth it may be made ahead. */
  readonly fill: () => void
  /** An instance changed; reports follow. */
  readonly onChange: (report: InstanceReport) => void
  readonly metrics: Pick<SchedulerMetrics, 'instances' | 'ends' | 'startMs'>
}

/** A start that waited longer than this for its turn starts only if a request still waits for it. */
const surplusAfterMs = 100

const refillAfterMs = 50

/** A request may come this much later than the refusal of the start that was made for it, and be asked about once a second. */
const refusalKeptMs = 5_000

export class NodeScheduler {
  readonly #deps: NodeSchedulerDeps
  /** By the instance id that the scheduler chose. */
  readonly #entries = new Map<string, Entry>()
  /** By the sandbox's own id, which the node gateway uses. */
  readonly #bySandbox = new Map<string, Entry>()
  readonly #queue: Entry[] = []
  readonly #refusals = new Map<string, PlatformError>()
  #starting = 0
  #bookedMiB = 0
  #refill: NodeJS.Timeout | undefined
  #draining = false

  constructor(deps: NodeSchedulerDeps) {
    this.#deps = deps
  }

  /** Queues the start. @throws PlatformError NO_CAPACITY while draining or full; ALREADY_EXISTS for a repeated id. */
  start(command: StartInstance): void {
    if (this.#draining) throw new PlatformError('NO_CAPACITY', 'the node is draining')
    if (this.#entries.size >= this.#deps.maxInstances)
      throw new PlatformError('NO_CAPACITY', 'the node has as many instances as it may', {
        instances: this.#deps.maxInstances,
      })
    if (this.#entries.has(command.instanceId))
      throw new PlatformError('ALREADY_EXISTS', 'this instance was started before')
    const entry: Entry = {
      command,
      key: revisionKey(command.revision),
      commandedAt: performance.now(),
      state: 'starting',
    }
    this.#entries.set(command.instanceId, entry)
    this.#bookedMiB += command.memoryMiB
    this.#deps.plan.startCommanded(command)
    this.#queue.push(entry)
    this.#changed(entry)
    this.#pump()
  }

  /** Ends the instance: at once when idle, after its requests otherwise. Unknown ids are already ended. */
  end(instanceId: string, reason: string): void {
    const entry = this.#entries.get(instanceId)
    if (entry) void this.#drainAndEnd(entry, reason)
  }

  /** The node gateway's voice: the instance behind this sandbox pulled or finished something. */
  stateChanged(sandboxId: string): void {
    const entry = this.#bySandbox.get(sandboxId)
    if (!entry || entry.state !== 'running') return
    if (entry.running?.endpoint.inFlight === 0) {
      entry.idleSince ??= Date.now()
    } else {
      delete entry.idleSince
    }
    this.#changed(entry)
  }

  /** The node gateway's voice: this sandbox must die now. */
  mustEnd(sandboxId: string, exit: SandboxExit): void {
    const entry = this.#bySandbox.get(sandboxId)
    if (entry) void this.#endNow(entry, exit.reason, exit)
  }

  /** Some instance that may take the request is there or on its way. */
  willServe({ revision, forced, invocationId }: WaitingRequest): boolean {
    const key = revisionKey(revision)
    return [...this.#entries.values()].some(
      ({ key: of, state, command }) =>
        of === key && state !== 'ending' && (!forced || command.forInvocation === invocationId),
    )
  }

  refusal(revision: RevisionRef): PlatformError | undefined {
    return this.#refusals.get(revisionKey(revision))
  }

  reports(): InstanceReport[] {
    const ranks = new Map<string, number>()
    // The one that was used last comes first, and so stays longest.
    return [...this.#entries.values()]
      .toSorted((a, b) => (b.idleSince ?? 0) - (a.idleSince ?? 0))
      .map((entry) => {
        const rank = ranks.get(entry.key) ?? 0
        if (entry.idleSince !== undefined) ranks.set(entry.key, rank + 1)
        return this.#report(entry, rank)
      })
  }

  /** Memory of all instances, as the scheduler counts it. */
  get bookedMiB(): number {
    return this.#bookedMiB
  }

  instancesOf(key: string): number {
    return [...this.#entries.values()].filter(({ key: of, state }) => of === key && state !== 'ending').length
  }

  /** Instances without work; their memory where they have a sandbox for themselves. */
  idle(): { readonly command: StartInstance; readonly memoryMiB: number | undefined }[] {
    return [...this.#entries.values()].flatMap(({ command, state, idleSince, running }) =>
      state === 'running' && idleSince !== undefined
        ? [{ command, memoryMiB: running?.sandbox instanceof Sandbox ? running.sandbox.memoryMiB() : undefined }]
        : [],
    )
  }

  /** Has made ahead what is worth it, unless a start runs, whose end does the same. */
  fill(): void {
    if (this.#starting === 0 && !this.#draining) this.#deps.fill()
  }

  /** Takes no more starts, lets requests finish, ends everything. */
  async close(): Promise<void> {
    this.#draining = true
    await Promise.all([...this.#entries.values()].map((entry) => this.#drainAndEnd(entry, 'shutdown')))
  }

  #pump(): void {
    while (this.#starting < this.#deps.startParallelism) {
      const entry = this.#queue.shift()
      if (!entry) return
      if (entry.state === 'ending') continue
      if (this.#isSurplus(entry)) {
        this.#remove(entry, 'surplus')
        continue
      }
      this.#starting++
      entry.starting = this.#start(entry).finally(() => {
        this.#starting--
        this.#deps.plan.habits.startEnded(entry.command.instanceId)
        this.#pump()
        this.#refillSoon()
      })
    }
  }

  /** What was made ahead is made anew when no start waits, and a moment after the last one: its caller's handler runs now. */
  #refillSoon(): void {
    if (this.#refill) return
    this.#refill = setTimeout(() => {
      this.#refill = undefined
      this.fill()
    }, refillAfterMs).unref()
  }

  /** Others answered while this start waited for its turn: starting it would only cost. */
  #isSurplus(entry: Entry): boolean {
    return (
      entry.command.startWish === 'auto' &&
      entry.command.provisioned !== true &&
      performance.now() - entry.commandedAt > surplusAfterMs &&
      this.#deps.gateway.waiting(entry.command.revision) === 0
    )
  }

  async #start(entry: Entry): Promise<void> {
    const { revision } = entry.command
    const from = performance.now()
    try {
      const config = await this.#deps.revisions.config(revision)
      await this.#deps.makeRoom()
      const running = await this.#deps.starter.start(entry.command, config).catch((error: unknown) => {
        throw isNodesFault(error) ? new SandboxFailed(error) : error
      })
      const madeAt = performance.now()
      entry.running = running
      this.#bySandbox.set(running.sandbox.id, entry)
      void running.sandbox.exited.then((exit) => this.#remove(entry, entry.endReason ?? exit.reason, exit))
      if (isEnding(entry)) return await endInstance(running, entry.endReason ?? 'ended')
      await running.endpoint.ready
      const readyAt = performance.now()
      this.#deps.metrics.startMs.observe({ start_type: startTypeOf(running.way) }, readyAt - from)
      this.#deps.plan.started(config, running.way, readyAt - from, readyAt - madeAt)
      if (entry.state === 'starting') {
        entry.state = 'running'
        this.stateChanged(running.sandbox.id)
      }
    } catch (error) {
      this.#deps.logger.warn({ err: error, revision }, 'start failed')
      if (entry.running)
        await this.#endNow(entry, 'start-failed', { reason: 'killed', detail: 'initialisation failed' })
      else this.#remove(entry, error instanceof SandboxFailed ? 'sandbox-failed' : 'start-failed')
      // No handler ran: another node may do better.
      const known =
        error instanceof PlatformError
          ? error
          : new PlatformError('NO_CAPACITY', 'the node could not start a sandbox', undefined, { cause: error })
      if (known.code === 'NO_CAPACITY') this.#refused(entry.key, known)
      this.#deps.gateway.failWaiting(revision, known)
    }
  }

  #refused(key: string, error: PlatformError): void {
    this.#refusals.set(key, error)
    setTimeout(() => this.#refusals.get(key) === error && this.#refusals.delete(key), refusalKeptMs).unref()
  }

  async #drainAndEnd(entry: Entry, reason: string): Promise<void> {
    if (entry.state === 'ending') return
    entry.state = 'ending'
    entry.endReason = reason
    if (this.#queue.includes(entry)) return this.#remove(entry, reason)
    this.#changed(entry)
    // One that is being made ends as soon as it is.
    if (!entry.running) return entry.starting
    await entry.running.endpoint.drain()
    await endInstance(entry.running, reason)
  }

  async #endNow(entry: Entry, reason: string, exit: SandboxExit): Promise<void> {
    entry.state = 'ending'
    entry.endReason ??= reason
    await entry.running?.sandbox.end(exit)
  }

  #remove(entry: Entry, reason: string, exit?: SandboxExit): void {
    if (!this.#entries.delete(entry.command.instanceId)) return
    this.#bookedMiB -= entry.command.memoryMiB
    this.#deps.plan.habits.startEnded(entry.command.instanceId)
    entry.state = 'ending'
    if (entry.running) this.#bySandbox.delete(entry.running.sandbox.id)
    this.#deps.metrics.ends.inc({ reason })
    this.#deps.logger.info({ instanceId: entry.command.instanceId, reason, detail: exit?.detail }, 'instance ended')
    this.#changed(entry, reason)
  }

  #changed(entry: Entry, endReason?: string): void {
    this.#deps.metrics.instances.set(this.#entries.size)
    this.#deps.onChange(this.#report(entry, 0, endReason))
  }

  #report(entry: Entry, rank: number, endReason?: string): InstanceReport {
    return reportOf(entry, (key, policy) => this.#deps.plan.keepAliveMs(key, policy, rank), endReason)
  }
}

/** Its state may have changed while something was awaited. */
const isEnding = ({ state }: Entry): boolean => state === 'ending'
