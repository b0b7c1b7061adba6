/** One instance as the node gateway sees it: assigned once, pulls, answers, ends. HTTP is in runtime-api.ts. */
import type { Server, ServerResponse } from 'node:http'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { PlatformError } from '../../contracts/errors.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import { HttpPrelude, preludeDelimiter } from '../../contracts/node.ts'
import { httpRequestType, type Assignment } from '../../contracts/runtime-api.ts'
import type { InvocationReport, Phase } from '../../contracts/usage.ts'
import { Value } from 'typebox/value'
import type { AssignmentInput, InstanceEndpoint, NodeGatewayEvents, SandboxExit, WaitingRequest } from '../instance.ts'
import { InstanceLog } from '../logs/instance-log.ts'
import { endLine, reportLine, startLine } from '../logs/platform-lines.ts'
import type { UsageJournal, UsageStart } from '../metering/usage-journal.ts'
import type { UsagePublisher } from '../metering/usage-publisher.ts'
import { ended, restoreTimedOut, timedOut, type FunctionFailure } from './function-errors.ts'
import type { GatewayMetrics } from './gateway-metrics.ts'
import { maxEventBytes, readBody, type AnswerSink, type InvocationRequest } from './invocation.ts'
import { initialisationType, instanceEnvironment } from './environment.ts'
import { toPayloadV2 } from './payload-v2.ts'
import { waterfall } from './report.ts'

export interface EndpointDeps {
  readonly nodeId: string
  readonly region: string
  readonly limits: { readonly responseBytes: number; readonly streamedResponseBytes: number; readonly initMs: number }
  readonly events: NodeGatewayEvents
  readonly journal: UsageJournal
  readonly usage: UsagePublisher
  readonly metrics: GatewayMetrics
  /** The instance can take a request now. */
  readonly pullOpened: (endpoint: Endpoint) => void
  readonly closed: (endpoint: Endpoint) => void
}

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
  readonly start: AssignmentInput | undefined
  timer?: NodeJS.Timeout
  /** The runtime has begun to answer; a second answer is refused. */
  answered: boolean
  /** The caller has seen bytes of a streamed answer. */
  opened: boolean
  done: boolean
}

/** How long an instance waits for the request that it was forced for before it takes others. */
const heldForMs = 2_000

interface Poll {
  readonly response: ServerResponse
  readonly kind: string
}

export class Endpoint implements InstanceEndpoint {
  readonly instanceId: string
  readonly log: InstanceLog
  readonly #deps: EndpointDeps
  readonly #socketPath: string
  readonly #ready = Promise.withResolvers<void>()
  readonly ready = this.#ready.promise
  server: Server | undefined
  input: AssignmentInput | undefined
  #expected: VersionConfig | undefined
  readonly #pulled = Promise.withResolvers<void>()
  readonly pulled = this.#pulled.promise
  #assignedAt = 0
  #readyAt = 0
  #initTimer: NodeJS.Timeout | undefined
  #assignmentWaiters: ((input: AssignmentInput) => void)[] = []
  readonly #polls: Poll[] = []
  readonly #running = new Map<string, Running>()
  #held: NodeJS.Timeout | undefined
  #reserved = 0
  #pulls = 0
  #first = true
  #draining = false
  #closing: Promise<void> | undefined
  #drained: (() => void)[] = []

  constructor(instanceId: string, socketPath: string, log: InstanceLog, deps: EndpointDeps) {
    this.instanceId = instanceId
    this.#socketPath = socketPath
    this.log = log
    this.#deps = deps
    // Whoever started the instance awaits it; until then a rejection is not unhandled.
    this.ready.catch(() => undefined)
  }

  get inFlight(): number {
    return this.#running.size + this.#reserved
  }

  get concurrency(): number {
    return (this.input?.config ?? this.#expected)?.policy.concurrency ?? 1
  }

  get canPull(): boolean {
    const policy = this.input?.config.policy
    return (
      policy !== undefined &&
      !this.#draining &&
      !this.#closing &&
      this.#polls.length > 0 &&
      (policy.reuse || this.#pulls < policy.concurrency)
    )
  }

  /** A forced request is for its own instance alone, which for a while is for nobody else. */
  takes({ forced, invocationId }: WaitingRequest): boolean {
    return forced ? this.input?.forInvocation === invocationId : !this.#held
  }

  attachLogs(stdout: Readable, stderr: Readable): void {
    this.log.attach(stdout, stderr)
  }

  expect(config: VersionConfig): void {
    this.#expected = config
    this.#allowConnections()
  }

  initialised(): void {
    this.#becomeReady()
  }

  #allowConnections(): void {
    if (this.server) this.server.maxConnections = this.concurrency * 2 + 32
  }

  #becomeReady(): void {
    if (this.#readyAt > 0) return
    this.#readyAt = performance.now()
    clearTimeout(this.#initTimer)
    this.#ready.resolve()
  }

  assign(input: AssignmentInput): void {
    if (this.input) throw new PlatformError('INTERNAL', 'the instance has its assignment already')
    this.input = input
    this.#assignedAt = performance.now()
    this.log.assign(input.config)
    if (input.forInvocation !== undefined) this.#hold()
    this.#allowConnections()
    for (const resolve of this.#assignmentWaiters.splice(0)) resolve(input)
    this.#initTimer = setTimeout(() => {
      const late = input.checkpoint === 'version' ? restoreTimedOut : timedOut
      this.initFailed(late(this.instanceId, this.#deps.limits.initMs).body)
    }, this.#deps.limits.initMs)
    if (this.#polls.length > 0) this.#canServe()
  }

  /** Its request is on the way, or its caller is gone. */
  #hold(): void {
    this.#held = setTimeout(() => {
      this.#held = undefined
      this.#deps.pullOpened(this)
    }, heldForMs)
  }

  async assignment(): Promise<Assignment> {
    const input = this.input ?? (await new Promise<AssignmentInput>((resolve) => this.#assignmentWaiters.push(resolve)))
    return {
      instanceId: this.instanceId,
      environment: {
        ...instanceEnvironment(input.config, this.instanceId, this.#deps.region),
        ...(input.checkpoint === 'version' ? initialisationType : {}),
      },
      handler: input.config.handler,
      concurrency: this.concurrency,
      startType: input.startType,
      entropy: randomBytes(32).toString('base64'),
      ...(input.seed ? { seed: input.seed } : {}),
    }
  }

  /** `body`: the error's JSON, for the requests that waited for this start. */
  initFailed(body: Buffer): void {
    if (this.#readyAt > 0) return
    clearTimeout(this.#initTimer)
    this.#ready.reject(
      new PlatformError('START_FAILED', 'the function could not be initialised', {
        functionError: body.toString('utf8'),
        instanceId: this.instanceId,
        startType: this.input?.startType ?? 'boot',
      }),
    )
  }

  #canServe(): void {
    this.#becomeReady()
    this.#deps.pullOpened(this)
    this.#deps.events.stateChanged(this.instanceId)
  }

  /** False: the runtime owes an answer, or was not assigned yet and is no fork. */
  openPoll(response: ServerResponse, kind: string): boolean {
    if (!(this.input ?? this.#expected) || this.#closing || this.#polls.length + this.inFlight >= this.concurrency)
      return false
    const poll = { response, kind }
    this.#polls.push(poll)
    response.once('close', () => {
      const at = this.#polls.indexOf(poll)
      if (at >= 0) this.#polls.splice(at, 1)
    })
    this.#pulled.resolve()
    if (this.input) this.#canServe()
    return true
  }

  /** Hands the request to the open poll. The request must have left the buffer. */
  async run(waiting: Waiting): Promise<void> {
    const poll = this.#polls.shift()
    const input = this.input
    if (!poll || !input) return waiting.sink.fail(new PlatformError('INTERNAL', 'no open pull'))
    this.#reserved++
    this.#pulls++
    clearTimeout(this.#held)
    this.#held = undefined
    this.#deps.events.stateChanged(this.instanceId)
    let running: Running | undefined
    try {
      const payload = await preparePayload(waiting.request, poll.kind)
      if (poll.response.destroyed || this.#closing)
        throw new PlatformError('INSTANCE_LOST', 'the instance ended before it took the request')
      running = this.#begin(waiting, input)
      await this.#send(poll.response, running, payload)
    } catch (error) {
      if (running) {
        // Half a request is in the runtime's hands: only its end makes that safe.
        poll.response.destroy()
        return
      }
      this.#reserved--
      this.#pulls--
      if (!poll.response.destroyed) this.#polls.push(poll)
      this.#deps.events.invocationGone(waiting.request.invocationId)
      waiting.sink.fail(
        error instanceof PlatformError
          ? error
          : new PlatformError('INTERNAL', 'the request could not be handed over', undefined, { cause: error }),
      )
      this.#deps.events.stateChanged(this.instanceId)
      this.#idleAgain()
      this.#deps.pullOpened(this)
    }
  }

  /** The runtime can no longer be trusted to answer: its end fails what is in flight. */
  protocolBroken(detail: string): void {
    this.#deps.events.mustEnd(this.instanceId, { reason: 'killed', detail })
  }

  running(invocationId: string): Running | undefined {
    return this.#running.get(invocationId)
  }

  /** Ends the invocation for its caller, the meter and the log. Only the first call counts. */
  async finish(
    running: Running,
    failure: FunctionFailure | undefined,
    answer?: { body: Buffer; contentType: string },
  ): Promise<void> {
    if (running.done) return
    running.done = true
    clearTimeout(running.timer)
    const endedAt = performance.now()
    const { request, sink } = running.waiting
    await this.log.settle()
    const report = this.#report(running, endedAt, failure)
    this.#running.delete(request.invocationId)
    const record = { ...running.usage, outcome: report.outcome, billedMs: report.billedMs }
    this.#deps.journal.end(record)
    this.#deps.usage.publish(record)
    this.#deps.metrics.invocations.inc({ outcome: report.outcome, start_type: report.startType })
    // The scheduler hears of the free slot before the caller can ask for it again.
    this.#deps.events.invocationGone(request.invocationId)
    this.#deps.events.invocationEnded(request.invocationId, report)
    this.#deps.events.stateChanged(this.instanceId)
    if (running.opened) sink.finish(report, failure ? 'Unhandled' : undefined)
    else if (failure) sink.complete(failure.body, 'application/json', report, 'Unhandled')
    else sink.complete(answer?.body ?? Buffer.alloc(0), answer?.contentType ?? 'application/json', report)
    this.#idleAgain()
  }

  async drain(): Promise<void> {
    this.#draining = true
    if (this.inFlight > 0) await new Promise<void>((resolve) => this.#drained.push(resolve))
  }

  close(exit: SandboxExit): Promise<void> {
    this.#closing ??= this.#close(exit)
    return this.#closing
  }

  async #close(exit: SandboxExit): Promise<void> {
    this.#deps.closed(this)
    clearTimeout(this.#held)
    if (this.input) this.initFailed(ended(this.instanceId, exit, this.input.config.memoryMiB).body)
    else this.#ready.reject(new PlatformError('INSTANCE_LOST', `the sandbox ended: ${exit.detail}`))
    const memoryMiB = this.input?.config.memoryMiB ?? 0
    await Promise.all(
      [...this.#running.values()].map((running) =>
        this.finish(running, ended(running.waiting.request.invocationId, exit, memoryMiB)),
      ),
    )
    await this.log.settle()
    this.log.close()
    this.server?.closeAllConnections()
    await new Promise<void>((resolve) => (this.server ? this.server.close(() => resolve()) : resolve()))
    await rm(this.#socketPath, { force: true })
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  /** @throws PlatformError STORAGE_FULL: then the invocation has not begun. */
  #begin(waiting: Waiting, input: AssignmentInput): Running {
    const { request } = waiting
    const { tenant, name, version } = request.revision
    const usage: UsageStart = {
      invocationId: request.invocationId,
      attempt: request.attempt,
      tenant,
      name,
      version,
      nodeId: this.#deps.nodeId,
      instanceId: this.instanceId,
      startType: this.#first ? input.startType : 'warm',
      memoryMiB: input.config.memoryMiB,
      startedAt: Date.now(),
    }
    this.#deps.journal.begin(usage)
    const running: Running = {
      waiting,
      pulledAt: performance.now(),
      usage,
      start: this.#first ? input : undefined,
      answered: false,
      opened: false,
      done: false,
    }
    this.#first = false
    this.#reserved--
    this.#running.set(request.invocationId, running)
    this.#deps.metrics.queueSeconds.observe((running.pulledAt - waiting.arrivedAt) / 1000)
    this.log.begin(request.invocationId)
    this.log.platform(startLine(request.invocationId, version), request.invocationId)
    running.timer = setTimeout(() => {
      this.#deps.events.mustEnd(this.instanceId, {
        reason: 'timeout',
        detail: `timed out after ${request.timeoutMs} ms`,
      })
      void this.finish(running, timedOut(request.invocationId, request.timeoutMs))
    }, request.timeoutMs)
    return running
  }

  async #send(response: ServerResponse, running: Running, payload: Payload): Promise<void> {
    const { request } = running.waiting
    response.writeHead(200, {
      'content-type': payload.contentType,
      ...(Buffer.isBuffer(payload.body) ? { 'content-length': payload.body.length } : {}),
      'Lambda-Runtime-Aws-Request-Id': request.invocationId,
      'Lambda-Runtime-Deadline-Ms': Math.min(Date.now() + request.timeoutMs, request.deadlineAt),
      'Lambda-Runtime-Invoked-Function-Arn': request.functionArn,
      ...(request.traceparent ? { 'Lambda-Runtime-Trace-Id': request.traceparent } : {}),
      ...(request.clientContext
        ? { 'Lambda-Runtime-Client-Context': Buffer.from(request.clientContext, 'base64').toString('latin1') }
        : {}),
    })
    if (Buffer.isBuffer(payload.body)) response.end(payload.body)
    else await pipeline(payload.body, response)
  }

  #report(running: Running, endedAt: number, failure: FunctionFailure | undefined): InvocationReport {
    const { request, arrivedAt } = running.waiting
    const { start, usage } = running
    const durationMs = endedAt - running.pulledAt
    const phases: Phase[] = waterfall({
      arrivedAt,
      pulledAt: running.pulledAt,
      endedAt,
      ...(start
        ? {
            start: {
              startedAt: start.startedAt,
              phases: start.phases,
              assignedAt: this.#assignedAt,
              readyAt: this.#readyAt,
            },
          }
        : {}),
    })
    const figures = {
      invocationId: request.invocationId,
      durationMs,
      billedMs: failure?.outcome === 'timeout' ? request.timeoutMs : Math.ceil(durationMs),
      ...(start ? { initMs: this.#readyAt - start.startedAt } : {}),
      memoryMiB: usage.memoryMiB,
      maxMemoryMiB: Math.ceil(this.input?.peakMemoryMiB() ?? 0),
      startType: usage.startType,
    }
    this.log.platform(endLine(request.invocationId), request.invocationId)
    this.log.platform(reportLine({ ...figures, status: failure?.status }), request.invocationId)
    return {
      ...figures,
      instanceId: this.instanceId,
      nodeId: this.#deps.nodeId,
      outcome: failure?.outcome ?? 'ok',
      phases,
      logTail: this.log.takeTail(request.invocationId),
    }
  }

  #idleAgain(): void {
    if (this.inFlight > 0) return
    for (const resolve of this.#drained.splice(0)) resolve()
    const policy = this.input?.config.policy
    if (policy && !policy.reuse && this.#pulls > 0 && !this.#closing)
      this.#deps.events.mustEnd(this.instanceId, { reason: 'killed', detail: 'the function does not reuse instances' })
  }
}

interface Payload {
  readonly body: Buffer | Readable
  readonly contentType: string
}

/** Reads what must be whole before it is handed over: events, and HTTP requests for handlers that take events. */
const preparePayload = async (request: InvocationRequest, handlerKind: string): Promise<Payload> => {
  if (request.kind === 'http' && handlerKind !== 'lambda') return { body: request.body, contentType: httpRequestType }
  const limit = request.kind === 'http' ? maxEventBytes + 256 * 1024 : maxEventBytes
  const body = await readBody(request.body, limit, 'eventBytes')
  if (request.kind === 'event') return { body, contentType: 'application/json' }
  const at = body.indexOf(preludeDelimiter)
  let prelude: unknown
  try {
    prelude = JSON.parse(body.subarray(0, Math.max(0, at)).toString('utf8'))
  } catch {
    prelude = undefined
  }
  if (!Value.Check(HttpPrelude, prelude))
    throw new PlatformError('INVALID_REQUEST', 'the HTTP request has no valid prelude')
  const event = toPayloadV2(prelude, body.subarray(at + preludeDelimiter.length), request.invocationId)
  return { body: Buffer.from(JSON.stringify(event)), contentType: 'application/json' }
}
