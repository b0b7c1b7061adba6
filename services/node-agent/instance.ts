/**
 * The seam inside the node agent: the node scheduler makes and ends sandboxes, the node gateway feeds them requests.
 * Neither knows how the other does it.
 */
import type { Readable } from 'node:stream'
import type { VersionConfig } from '../contracts/function.ts'
import type { InvocationReport, Phase } from '../contracts/usage.ts'
import type { ForkLimits } from '../contracts/runtime-api.ts'
import type { RevisionRef, StartType } from '../contracts/placement.ts'
import type { PlatformError } from '../contracts/errors.ts'

/** How a sandbox ended. `detail` is for people: exit status, signal, the cgroup's evidence. */
export interface SandboxExit {
  readonly reason: 'exit' | 'out-of-memory' | 'timeout' | 'killed'
  readonly detail: string
}

/** What an instance runs in: a sandbox of its own, or one process in a seed's. */
export interface InstanceBody {
  readonly id: string
  /** Resolves when nothing of the instance runs any more. */
  readonly exited: Promise<SandboxExit>
  /** Kills at once, resolves `exited`. The first caller's reason stands. */
  end(exit: SandboxExit): Promise<SandboxExit>
}

/** What an instance is given when it becomes one revision's, for life. */
export interface AssignmentInput {
  readonly config: VersionConfig
  readonly startType: StartType
  /** Of a restore: the function was initialised before it was saved. */
  readonly checkpoint?: 'version'
  /** The invocation that this instance was forced for: its first one. */
  readonly forInvocation?: string | undefined
  /** It was started without an invocation, to be there for those to come. */
  readonly provisioned?: boolean | undefined
  /** Waterfall of the start so far; offsets from the moment the node began it. */
  readonly phases: readonly Phase[]
  /** `performance.now()` at which the node began the start. */
  readonly startedAt: number
  /** Peak memory of the instance's cgroup, or of the fork as its seed last saw it, MiB. */
  readonly peakMemoryMiB: () => number
  /** The instance is a seed: what each of its forks may use. */
  readonly seed?: ForkLimits | undefined
}

/** Node gateway's end of one instance: its Unix socket, its logs, its invocations. */
export interface InstanceEndpoint {
  readonly instanceId: string
  /** Reads the sandbox's output until both end. Call once. */
  attachLogs(stdout: Readable, stderr: Readable): void
  /** Of a fork, before it runs: it has its function already, and may pull before `assign`; it is answered after that. */
  expect(config: VersionConfig): void
  /** Resolves at the first pull, before `assign` or after. */
  readonly pulled: Promise<void>
  /** Of a seed: the function is initialised, and never pulls. Resolves `ready`. */
  initialised(): void
  /** Answers the instance's long poll for its assignment. The code is mounted on `/var/task` by then. Call once. */
  assign(input: AssignmentInput): void
  /** Resolves at the first pull after `assign`. Rejects with START_FAILED on `init/error` or when `limits.initMs` passes. */
  readonly ready: Promise<void>
  /** Takes no more requests; resolves when those in flight have ended. */
  drain(): Promise<void>
  /** The sandbox is gone: fails what is in flight, flushes logs, removes the socket. Idempotent. */
  close(exit: SandboxExit): Promise<void>
  readonly inFlight: number
  /** The invocation that ran at that time (`performance.now()`), unless there were several. Known for a while after its end. */
  invocationAt(at: number): string | undefined
}

export interface NodeGateway {
  /** Listens on `socketPath` before the sandbox runs. The instance belongs to no revision until `assign`. */
  openEndpoint(instanceId: string, socketPath: string): Promise<InstanceEndpoint>
  /** Requests of the revision that wait in the buffer. */
  waiting(revision: RevisionRef): number
  /** Fails the waiting requests of the revision that no instance, present or starting, will ever pull. */
  failWaiting(revision: RevisionRef, error: PlatformError): void
}

/** What decides which instance may take a request. */
export interface WaitingRequest {
  readonly invocationId: string
  readonly revision: RevisionRef
  readonly forced: boolean
}

/** What the node gateway needs from the rest of the agent. */
export interface NodeGatewayEvents {
  /** The instance pulled or finished something, or became ready. */
  stateChanged(instanceId: string): void
  /** The request is in the buffer. */
  invocationArrived(request: WaitingRequest): void
  /** The request left the buffer without an instance, or its invocation has ended. Told at least once. */
  invocationGone(invocationId: string): void
  invocationEnded(invocationId: string, report: InvocationReport): void
  /** The invocation ran past its time-out, or the runtime broke the protocol: the sandbox must die now. */
  mustEnd(instanceId: string, exit: SandboxExit): void
  /**
   * This request waits and nobody took it within a second (for instance because the start command was lost): true when an
   * instance, present or starting, will take it; false fails it with NO_INSTANCE.
   */
  willServe(request: WaitingRequest): boolean
  /** Why this node lately could not even try to start an instance of the revision: it may have said so before the request was here. */
  refusal(revision: RevisionRef): PlatformError | undefined
}
