/** Durable records that leave a node: usage, logs; and what the gateway learns of one invocation. */
import { Type, type Static } from 'typebox'
import { startTypes } from './placement.ts'

export const StartTypeSchema = Type.Enum(startTypes)

/** One phase of the start waterfall; offsets from the moment the hop received the request, milliseconds with fractions. */
export const Phase = Type.Object({ name: Type.String(), startMs: Type.Number(), durationMs: Type.Number() })
export type Phase = Static<typeof Phase>

export const outcomes = [
  'ok',
  'function-error',
  'timeout',
  'out-of-memory',
  'exit',
  'response-too-large',
  'start-failed',
  'lost',
] as const
export const Outcome = Type.Enum(outcomes)
export type Outcome = Static<typeof Outcome>

/** What the node gateway tells about an invocation when it has ended. */
export const InvocationReport = Type.Object({
  invocationId: Type.String(),
  instanceId: Type.String(),
  nodeId: Type.String(),
  startType: StartTypeSchema,
  outcome: Outcome,
  /** Handler time: from the pull to the last byte of the answer. */
  durationMs: Type.Number(),
  /** `durationMs` rounded up to a whole millisecond. */
  billedMs: Type.Integer(),
  /** Time of the instance's start, only on its first invocation. */
  initMs: Type.Optional(Type.Number()),
  memoryMiB: Type.Integer(),
  /** Peak of the instance's cgroup so far. */
  maxMemoryMiB: Type.Integer(),
  phases: Type.Array(Phase),
  /** Last 4 KiB of the invocation's log, ending with the REPORT line; base64. */
  logTail: Type.String(),
})
export type InvocationReport = Static<typeof InvocationReport>

/**
 * Stream `USAGE`, subject `usage.<tenant>.<name>.<invocationId>.<attempt>`, published with `Nats-Expected-Last-Subject-Sequence: 0`: a record
 * that was already stored is refused however late it is sent again, so each is there exactly once.
 */
export const UsageRecord = Type.Object({
  invocationId: Type.String(),
  /** 1 for the first; asynchronous retries count up. */
  attempt: Type.Integer(),
  tenant: Type.String(),
  name: Type.String(),
  version: Type.String(),
  nodeId: Type.String(),
  instanceId: Type.String(),
  startType: StartTypeSchema,
  outcome: Outcome,
  billedMs: Type.Integer(),
  memoryMiB: Type.Integer(),
  /** Epoch milliseconds. */
  startedAt: Type.Integer(),
})
export type UsageRecord = Static<typeof UsageRecord>

/** Stream `LOGS`, subject `logs.<tenant>.<name>`: JSON array of these, batched per instance. */
export const LogRecord = Type.Object({
  /** Epoch milliseconds at which the node read the line. */
  at: Type.Integer(),
  version: Type.String(),
  instanceId: Type.String(),
  invocationId: Type.Optional(Type.String()),
  stream: Type.Union([Type.Literal('stdout'), Type.Literal('stderr'), Type.Literal('platform')]),
  /** One line, control characters escaped, at most 64 KiB; longer ones are cut and say so. */
  line: Type.String(),
})
export type LogRecord = Static<typeof LogRecord>
