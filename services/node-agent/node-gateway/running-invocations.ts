/** The invocations that one instance has pulled: metered, timed and logged from the pull to the end. */
import type { InvocationReport } from '../../contracts/usage.ts'
import type { AssignmentInput, NodeGatewayEvents } from '../instance.ts'
import type { InstanceLog } from '../logs/instance-log.ts'
import { endLine, reportLine, startLine } from '../logs/platform-lines.ts'
import type { UsageJournal, UsageStart } from '../metering/usage-journal.ts'
import type { UsagePublisher } from '../metering/usage-publisher.ts'
import { timedOut, type FunctionFailure } from './function-errors.ts'
import type { GatewayMetrics } from './gateway-metrics.ts'
import type { Initialisation } from './initialisation.ts'
import type { AnswerSink, InvocationRequest } from './invocation.ts'
import { waterfall } from './report.ts'

/** A request in the buffer. */
export interface Waiting {
  readonly key: string
  readonly bytes: number
  readonly request: InvocationRequest
  readonly sink: AnswerSink
  /** `performance.now()`. */
  readonly arrivedAt: number
}

export interface Running {
  readonly waiting: Waiting
  readonly pulledAt: number
  readonly usage: UsageStart
  /** Of the instance's first invocation. */
  readonly start: AssignmentInput | undefined
  timer?: NodeJS.Timeout
  /** The runtime has begun to answer; a second answer is refused. */
  answered: boolean
  /** The caller has seen bytes of a streamed answer. */
  opened: boolean
  done: boolean
}

export interface Answer {
  readonly body: Buffer
  readonly contentType: string
}

export interface RunningDeps {
  readonly nodeId: string
  readonly events: NodeGatewayEvents
  readonly journal: UsageJournal
  readonly usage: UsagePublisher
  readonly metrics: GatewayMetrics
}

/** The instance that they run in. */
export interface RunningOwner {
  readonly instanceId: string
  readonly log: InstanceLog
  readonly initialisation: Initialisation
  /** One ended, and its caller has been told. */
  readonly ended: () => void
}

/** `performance.now()` of begin and end. */
interface Span {
  readonly invocationId: string
  readonly from: number
  to: number
}
const rememberedSpans = 64

export class RunningInvocations {
  readonly #instanceId: string
  readonly #log: InstanceLog
  readonly #initialisation: Initialisation
  readonly #deps: RunningDeps
  readonly #ended: () => void
  readonly #running = new Map<string, Running>()
  /** Those of now, and the last ones that ended. */
  readonly #spans: Span[] = []
  #first = true

  constructor({ instanceId, log, initialisation, ended }: RunningOwner, deps: RunningDeps) {
    this.#instanceId = instanceId
    this.#log = log
    this.#initialisation = initialisation
    this.#ended = ended
    this.#deps = deps
  }

  get size(): number {
    return this.#running.size
  }

  get(invocationId: string): Running | undefined {
    return this.#running.get(invocationId)
  }

  all(): Running[] {
    return [...this.#running.values()]
  }

  /** The one that ran at that time, unless there were several. */
  at(time: number): string | undefined {
    const [only, ...more] = this.#spans.filter(({ from, to }) => from <= time && time <= to)
    return more.length === 0 ? only?.invocationId : undefined
  }

  /** @throws PlatformError STORAGE_FULL: then the invocation has not begun. */
  begin(waiting: Waiting, input: AssignmentInput): Running {
    const { events, journal, metrics } = this.#deps
    const { request } = waiting
    // One that was provisioned has no invocation that waited for its start, unless that came before its end.
    const first = this.#first && !(input.provisioned && waiting.arrivedAt >= this.#initialisation.readyAt)
    const usage = this.#usageOf(request, input, first)
    journal.begin(usage)
    const running: Running = {
      waiting,
      pulledAt: performance.now(),
      usage,
      start: first ? input : undefined,
      answered: false,
      opened: false,
      done: false,
    }
    this.#first = false
    this.#running.set(request.invocationId, running)
    this.#spans.push({ invocationId: request.invocationId, from: running.pulledAt, to: Infinity })
    const ended = this.#spans.findIndex(({ to }) => to !== Infinity)
    if (this.#spans.length > rememberedSpans && ended >= 0) this.#spans.splice(ended, 1)
    metrics.queueSeconds.observe((running.pulledAt - waiting.arrivedAt) / 1000)
    this.#log.begin(request.invocationId)
    this.#log.platform(startLine(request.invocationId, request.revision.version), request.invocationId)
    running.timer = setTimeout(() => {
      const detail = `timed out after ${request.timeoutMs} ms`
      events.mustEnd(this.#instanceId, { reason: 'timeout', detail })
      void this.finish(running, timedOut(request.invocationId, request.timeoutMs))
    }, request.timeoutMs)
    return running
  }

  /** Ends the invocation for its caller, the meter and the log. Only the first call counts. */
  async finish(running: Running, failure: FunctionFailure | undefined, answer?: Answer): Promise<void> {
    if (running.done) return
    running.done = true
    clearTimeout(running.timer)
    const endedAt = performance.now()
    const { events, journal, usage, metrics } = this.#deps
    const { request, sink } = running.waiting
    await this.#log.settle()
    const report = this.#report(running, endedAt, failure)
    this.#running.delete(request.invocationId)
    const span = this.#spans.find(({ invocationId }) => invocationId === request.invocationId)
    if (span) span.to = performance.now()
    const record = { ...running.usage, outcome: report.outcome, billedMs: report.billedMs }
    journal.end(record)
    usage.publish(record)
    metrics.invocations.inc({ outcome: report.outcome, start_type: report.startType })
    // The scheduler hears of the free slot before the caller can ask for it again.
    events.invocationGone(request.invocationId)
    events.invocationEnded(request.invocationId, report)
    events.stateChanged(this.#instanceId)
    if (running.opened) sink.finish(report, failure ? 'Unhandled' : undefined)
    else if (failure) sink.complete(failure.body, 'application/json', report, 'Unhandled')
    else sink.complete(answer?.body ?? Buffer.alloc(0), answer?.contentType ?? 'application/json', report)
    this.#ended()
  }

  #usageOf({ invocationId, attempt, revision }: InvocationRequest, input: AssignmentInput, first: boolean): UsageStart {
    const { tenant, name, version } = revision
    return {
      invocationId,
      attempt,
      tenant,
      name,
      version,
      nodeId: this.#deps.nodeId,
      instanceId: this.#instanceId,
      startType: first ? input.startType : 'warm',
      memoryMiB: input.config.memoryMiB,
      startedAt: Date.now(),
    }
  }

  #report(running: Running, endedAt: number, failure: FunctionFailure | undefined): InvocationReport {
    const { request, arrivedAt } = running.waiting
    const { start, usage, pulledAt } = running
    const { input, assignedAt, readyAt } = this.#initialisation
    const durationMs = endedAt - pulledAt
    const started = start && { startedAt: start.startedAt, phases: start.phases, assignedAt, readyAt }
    const figures = {
      invocationId: request.invocationId,
      durationMs,
      billedMs: failure?.outcome === 'timeout' ? request.timeoutMs : Math.ceil(durationMs),
      ...(start ? { initMs: readyAt - start.startedAt } : {}),
      memoryMiB: usage.memoryMiB,
      maxMemoryMiB: Math.ceil(input?.peakMemoryMiB() ?? 0),
      startType: usage.startType,
    }
    this.#log.platform(endLine(request.invocationId), request.invocationId)
    this.#log.platform(reportLine({ ...figures, status: failure?.status }), request.invocationId)
    return {
      ...figures,
      instanceId: this.#instanceId,
      nodeId: this.#deps.nodeId,
      outcome: failure?.outcome ?? 'ok',
      phases: waterfall({ arrivedAt, pulledAt, endedAt, ...(started ? { start: started } : {}) }),
      logTail: this.#log.takeTail(request.invocationId),
    }
  }
}
