/** The instances of this node: started by command, watched, ended by command, by their policy or by their own death. */
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { InstanceReport, StartInstance } from '../../contracts/node.ts'
import { revisionKey } from '../../contracts/placement.ts'
import type { NodeGateway, SandboxExit, WaitingRequest } from '../instance.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import type { Revisions } from './revisions.ts'
import { endInstance, type RunningInstance, type SandboxStarter } from './sandbox-starter.ts'

export interface NodeSchedulerDeps {
  readonly gateway: NodeGateway
  readonly starter: SandboxStarter
  readonly revisions: Revisions
  readonly logger: Logger
  readonly startParallelism: number
  readonly maxInstances: number
  /** An instance changed; reports follow. */
  readonly onChange: (report: InstanceReport) => void
  readonly metrics: Pick<SchedulerMetrics, 'instances' | 'ends' | 'startMs'>
}

interface Entry {
  readonly command: StartInstance
  readonly key: string
  readonly commandedAt: number
  state: 'starting' | 'running' | 'ending'
  /** Settles when the start has ended, one way or another. */
  starting?: Promise<void>
  running?: RunningInstance
  idleSince?: number
  /** Set when the end was decided here; the sandbox's own exit tells less. */
  endReason?: string
}

/** A start that waited longer than this for its turn starts only if a request still waits for it. */
const surplusAfterMs = 100

const refillAfterMs = 50

export class NodeScheduler {
  readonly #deps: NodeSchedulerDeps
  /** By the instance id that the scheduler chose. */
  readonly #entries = new Map<string, Entry>()
  /** By the sandbox's own id, which the node gateway uses. */
  readonly #bySandbox = new Map<string, Entry>()
  readonly #queue: Entry[] = []
  #starting = 0
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

  reports(): InstanceReport[] {
    return [...this.#entries.values()].map((entry) => report(entry))
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
      // The end of the start that runs now comes here again.
      if (this.#starting === 0) this.#deps.starter.fill()
    }, refillAfterMs).unref()
  }

  /** Others answered while this start waited for its turn: starting it would only cost. */
  #isSurplus(entry: Entry): boolean {
    return (
      entry.command.startWish === 'auto' &&
      performance.now() - entry.commandedAt > surplusAfterMs &&
      this.#deps.gateway.waiting(entry.command.revision) === 0
    )
  }

  async #start(entry: Entry): Promise<void> {
    const { revision } = entry.command
    const from = performance.now()
    try {
      const config = await this.#deps.revisions.config(revision)
      const running = await this.#deps.starter.start(entry.command, config)
      entry.running = running
      this.#bySandbox.set(running.sandbox.id, entry)
      void running.sandbox.exited.then((exit) => this.#remove(entry, entry.endReason ?? exit.reason, exit))
      if (isEnding(entry)) return await endInstance(running, entry.endReason ?? 'ended')
      await running.endpoint.ready
      this.#deps.metrics.startMs.observe(performance.now() - from)
      if (entry.state === 'starting') {
        entry.state = 'running'
        this.stateChanged(running.sandbox.id)
      }
    } catch (error) {
      this.#deps.logger.warn({ err: error, revision }, 'start failed')
      if (entry.running)
        await this.#endNow(entry, 'start-failed', { reason: 'killed', detail: 'initialisation failed' })
      else this.#remove(entry, 'start-failed')
      const known =
        error instanceof PlatformError ? error : new PlatformError('START_FAILED', 'the sandbox could not be started')
      this.#deps.gateway.failWaiting(revision, known)
    }
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
    entry.state = 'ending'
    if (entry.running) this.#bySandbox.delete(entry.running.sandbox.id)
    this.#deps.metrics.ends.inc({ reason })
    this.#deps.logger.info({ instanceId: entry.command.instanceId, reason, detail: exit?.detail }, 'instance ended')
    this.#changed(entry, reason)
  }

  #changed(entry: Entry, endReason?: string): void {
    this.#deps.metrics.instances.set(this.#entries.size)
    this.#deps.onChange(report(entry, endReason))
  }
}

/** Its state may have changed while something was awaited. */
const isEnding = ({ state }: Entry): boolean => state === 'ending'

const report = (entry: Entry, endReason?: string): InstanceReport => {
  const inFlight = entry.running?.endpoint.inFlight ?? 0
  const ended = endReason !== undefined
  // An instance that is ending takes no more requests: to the scheduler it is as good as gone.
  const state =
    ended || entry.state === 'ending'
      ? 'ended'
      : entry.state === 'starting'
        ? 'starting'
        : inFlight > 0
          ? 'busy'
          : 'idle'
  const { instanceId, revision, memoryMiB, policy } = entry.command
  return {
    instanceId,
    revision,
    memoryMiB,
    policy,
    state,
    inFlight,
    ...(entry.idleSince !== undefined && state === 'idle' ? { idleSince: entry.idleSince } : {}),
    ...(state === 'ended' ? { reason: endReason ?? entry.endReason ?? 'ending' } : {}),
  }
}
