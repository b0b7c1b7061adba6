/** One instance as the node gateway sees it: assigned once, pulls, answers, ends. HTTP is in runtime-api.ts. */
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import type { Server, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { PlatformError } from '../../contracts/errors.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import type { Assignment } from '../../contracts/runtime-api.ts'
import type { AssignmentInput, InstanceEndpoint, SandboxExit, WaitingRequest } from '../instance.ts'
import type { InstanceLog } from '../logs/instance-log.ts'
import { initialisationType, instanceEnvironment, provisionedType } from './environment.ts'
import { ended, type FunctionFailure } from './function-errors.ts'
import { Initialisation } from './initialisation.ts'
import type { InvocationRequest } from './invocation.ts'
import { handOver, preparePayload } from './payload.ts'
import { RunningInvocations, type Answer, type Running, type RunningDeps, type Waiting } from './running-invocations.ts'

export interface EndpointDeps extends RunningDeps {
  readonly region: string
  readonly limits: { readonly responseBytes: number; readonly streamedResponseBytes: number; readonly initMs: number }
  /** What the node adds beneath the function's own variables. */
  readonly environment?: ((config: VersionConfig) => Readonly<Record<string, string>>) | undefined
  /** The instance can take a request now. */
  readonly pullOpened: (endpoint: Endpoint) => void
  readonly closed: (endpoint: Endpoint) => void
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
  readonly #initialisation: Initialisation
  readonly #running: RunningInvocations
  server: Server | undefined
  #expected: VersionConfig | undefined
  readonly #pulled = Promise.withResolvers<void>()
  readonly pulled = this.#pulled.promise
  readonly #polls: Poll[] = []
  #held: NodeJS.Timeout | undefined
  #reserved = 0
  #pulls = 0
  #draining = false
  #closing: Promise<void> | undefined
  #drained: (() => void)[] = []

  constructor(instanceId: string, socketPath: string, log: InstanceLog, deps: EndpointDeps) {
    this.instanceId = instanceId
    this.#socketPath = socketPath
    this.log = log
    this.#deps = deps
    this.#initialisation = new Initialisation(instanceId, deps.limits.initMs)
    const owner = { instanceId, log, initialisation: this.#initialisation, ended: () => this.#idleAgain() }
    this.#running = new RunningInvocations(owner, deps)
  }

  get input(): AssignmentInput | undefined {
    return this.#initialisation.input
  }

  get ready(): Promise<void> {
    return this.#initialisation.ready
  }

  get inFlight(): number {
    return this.#running.size + this.#reserved
  }

  invocationAt(at: number): string | undefined {
    return this.#running.at(at)
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
    this.#initialisation.succeeded()
  }

  #allowConnections(): void {
    if (this.server) this.server.maxConnections = this.concurrency * 2 + 32
  }

  assign(input: AssignmentInput): void {
    this.#initialisation.assign(input)
    this.log.assign(input.config)
    if (input.forInvocation !== undefined) this.#hold()
    this.#allowConnections()
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
    const input = await this.#initialisation.assigned
    return {
      instanceId: this.instanceId,
      environment: {
        ...this.#deps.environment?.(input.config),
        ...instanceEnvironment(input.config, this.instanceId, this.#deps.region),
        ...(input.checkpoint === 'version' ? initialisationType : input.provisioned ? provisionedType : {}),
      },
      handler: input.config.handler,
      concurrency: this.concurrency,
      startType: input.startType,
      entropy: randomBytes(32).toString('base64'),
      ...(input.seed ? { seed: input.seed } : {}),
    }
  }

  /** @param body the error's JSON, for the requests that waited for this start */
  initFailed(body: Buffer): void {
    this.#initialisation.failed(body)
  }

  #canServe(): void {
    this.#initialisation.succeeded()
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
      running = this.#running.begin(waiting, input)
      this.#reserved--
      await handOver(poll.response, waiting.request, payload)
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

  /** That the instance handles now. */
  get requests(): InvocationRequest[] {
    return this.#running.all().map(({ waiting }) => waiting.request)
  }

  running(invocationId: string): Running | undefined {
    return this.#running.get(invocationId)
  }

  /** Ends the invocation for its caller, the meter and the log. Only the first call counts. */
  finish(running: Running, failure: FunctionFailure | undefined, answer?: Answer): Promise<void> {
    return this.#running.finish(running, failure, answer)
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
    else this.#initialisation.lost(exit.detail)
    const memoryMiB = this.input?.config.memoryMiB ?? 0
    await Promise.all(
      this.#running
        .all()
        .map((running) => this.finish(running, ended(running.waiting.request.invocationId, exit, memoryMiB))),
    )
    await this.log.settle()
    this.log.close()
    this.server?.closeAllConnections()
    await new Promise<void>((resolve) => (this.server ? this.server.close(() => resolve()) : resolve()))
    await rm(this.#socketPath, { force: true })
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  #idleAgain(): void {
    if (this.inFlight > 0) return
    for (const resolve of this.#drained.splice(0)) resolve()
    const policy = this.input?.config.policy
    if (policy && !policy.reuse && this.#pulls > 0 && !this.#closing)
      this.#deps.events.mustEnd(this.instanceId, { reason: 'killed', detail: 'the function does not reuse instances' })
  }
}
