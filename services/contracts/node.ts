/** What the scheduler and the gateway say to a node agent, and what the agent reports. */
import { Type, type Static } from 'typebox'
import { RevisionRef, startTypes, StartWish } from './placement.ts'
import { cachePolicies, InstancePolicy, poolPattern, runtimeNames } from './function.ts'

/**
 * Scheduler -> node, over a link (`links.ts`). Answered as soon as the start is queued; its end is in the reports.
 * The node reads the rest of the configuration (code digest, environment, handler) from the registry itself.
 */
export const StartInstance = Type.Object(
  {
    instanceId: Type.String(),
    revision: RevisionRef,
    runtime: Type.Enum(runtimeNames),
    memoryMiB: Type.Integer(),
    policy: InstancePolicy,
    startWish: StartWish,
    /** A forced start: the instance is for this invocation first, and this invocation is for no other instance. */
    forInvocation: Type.Optional(Type.String()),
    /** Wanted without a request: it starts however long it waits for its turn. */
    provisioned: Type.Optional(Type.Literal(true)),
  },
  { additionalProperties: false },
)
export type StartInstance = Static<typeof StartInstance>

/** Why a node is given nothing new. */
export const Cordon = Type.Object(
  {
    by: Type.Enum(['operator', 'platform'] as const),
    reason: Type.String({ maxLength: 500 }),
    /** Epoch milliseconds. */
    since: Type.Integer(),
  },
  { additionalProperties: false },
)
export type Cordon = Static<typeof Cordon>

/** Nodes of a pool are alike to whoever places instances. */
export const NodePool = Type.String({ pattern: poolPattern, default: 'default' })

/** What else operators say of a node: zone, hardware, ... */
export const NodeLabels = Type.Record(
  Type.String({ pattern: '^[a-z0-9]([a-z0-9./-]{0,61}[a-z0-9])?$' }),
  Type.String({ maxLength: 63 }),
  { additionalProperties: false, default: {} },
)
export type NodeLabels = Static<typeof NodeLabels>

export const InstanceState = Type.Union([
  Type.Literal('starting'),
  Type.Literal('idle'),
  Type.Literal('busy'),
  Type.Literal('ended'),
])
export type InstanceState = Static<typeof InstanceState>

/** What changes in the life of an instance. */
const instanceChange = {
  instanceId: Type.String(),
  state: InstanceState,
  /** Invocations that it handles now. */
  inFlight: Type.Integer(),
  /** Epoch milliseconds since which it is idle. */
  idleSince: Type.Optional(Type.Integer()),
  /** In state `idle`: for how long it is worth keeping, in milliseconds since `idleSince`, as the node's cache decides. */
  keepAliveMs: Type.Optional(Type.Integer({ minimum: 0 })),
  /**
   * With state `ended`: why (`keep-alive`, `exit`, `timeout`, `out-of-memory`, `surplus`, ...). `start-failed`: the function could not be
   * initialised; `sandbox-failed`: the node could not start a sandbox for it.
   */
  reason: Type.Optional(Type.String()),
}

export const InstanceChange = Type.Object(instanceChange, { additionalProperties: false })
export type InstanceChange = Static<typeof InstanceChange>

export const InstanceReport = Type.Object(
  { ...instanceChange, revision: RevisionRef, memoryMiB: Type.Integer(), policy: InstancePolicy },
  { additionalProperties: false },
)
export type InstanceReport = Static<typeof InstanceReport>

/**
 * What an invocation changes of its instance, and its end, is in a report at most so many milliseconds later: gateways tell the scheduler of both.
 * At once comes whatever nobody else tells: that an instance has ended by itself, and all of instances that serve once or are kept for less than `briefMs`.
 */
export const toldWithinMs = 200
export const briefMs = 1_000

/**
 * Node -> scheduler, NATS subject `node.<nodeId>.report`. `full` reports (every ten seconds, and at once when asked on subject
 * `node.report-now` or `node.<nodeId>.report-now`) list everything the node has; the others, at least one a second, list what changed.
 * `seq` grows by one within an `epoch` (one run of the agent); after a gap the receiver asks for a full report.
 */
export const NodeReport = Type.Object(
  {
    nodeId: Type.String(),
    epoch: Type.String(),
    seq: Type.Integer(),
    full: Type.Boolean(),
    /** The latest term of a scheduler that the node knows of. */
    term: Type.Optional(Type.Integer({ minimum: 0 })),
    /** Base URL of the node gateway. In full reports. */
    url: Type.Optional(Type.String()),
    /** False while draining or unable to start sandboxes (disk full, runsc missing). */
    accepting: Type.Boolean(),
    /** Kept by the node, so that no scheduler's end undoes it. Schedulers of the version before do not know it, and give such a node nothing. */
    cordon: Type.Optional(Cordon),
    /** In full reports. */
    capacity: Type.Optional(
      Type.Object({ memoryMiB: Type.Integer(), instances: Type.Integer(), cpus: Type.Integer() }),
    ),
    /** In full reports. */
    pool: Type.Optional(NodePool),
    labels: Type.Optional(NodeLabels),
    /**
     * Memory that is held for starts to come and is no instance's. The node gives it back when a start needs it, all but `pinnedMiB`:
     * seeds whose forks serve.
     */
    cache: Type.Optional(Type.Object({ heldMiB: Type.Integer(), pinnedMiB: Type.Integer() })),
    /** In full reports all, otherwise those that were not in a report before. */
    instances: Type.Array(InstanceReport),
    /** Those that were. */
    changed: Type.Optional(Type.Array(InstanceChange)),
    /** Invocations that ended since the last report: their leases are over. */
    endedInvocations: Type.Array(Type.String()),
  },
  { additionalProperties: false },
)
export type NodeReport = Static<typeof NodeReport>

const Held = Type.Object({
  level: Type.Enum(['idle', 'parkedFork', 'seed', 'parked', 'created'] as const),
  /** There now. */
  held: Type.Integer(),
  /** Worth holding, by the last decision. */
  wanted: Type.Integer(),
  /** For how long an idle instance stays, in milliseconds; only with level `idle`. */
  keepAliveMs: Type.Optional(Type.Integer()),
  reason: Type.String(),
})

/**
 * Gateway -> node: `POST /v1/explanations` with a RevisionRef: what the node holds for the revision and why, and how its next instance
 * would start. Changes nothing.
 */
export const NodeExplanation = Type.Object({
  nodeId: Type.String(),
  mode: Type.Enum(cachePolicies),
  budgetMiB: Type.Integer(),
  /** For starts to come, of all functions. */
  heldMiB: Type.Integer(),
  /** Of a new instance; one that is idle is used before. By the very decision that starts are made by. */
  next: Type.Object({ startType: Type.Enum(startTypes), reason: Type.String() }),
  /** Levels `parked` and `created` are the runtime's: whichever function needs them first has them. */
  levels: Type.Array(Held),
  /** What the last decision was made from, as far as it is the caller's to see. */
  input: Type.Unknown(),
})
export type NodeExplanation = Static<typeof NodeExplanation>

/**
 * Gateway -> node gateway: `POST /v1/invocations/:invocationId`. The body is the payload, streamed. These headers go with it.
 * `forkyard-kind: event` is a Lambda event. `http` is a function URL request: the body starts with an `HttpPrelude`
 * (JSON, then 8 NUL bytes, as in Lambda's http-integration-response), then the raw request body.
 */
export const invocationHeaders = {
  /** JSON of RevisionRef. */
  revision: 'forkyard-revision',
  /** Epoch milliseconds. */
  deadlineAt: 'forkyard-deadline-at',
  /** The function's own time-out in milliseconds; runs from the moment an instance has pulled the request. */
  timeoutMs: 'forkyard-timeout-ms',
  kind: 'forkyard-kind',
  /** `buffered`: the reply is complete and within the limit, or an error. `stream`: bytes as they come, the outcome in the trailer. */
  responseMode: 'forkyard-response-mode',
  functionArn: 'forkyard-function-arn',
  /** Base64 JSON, as the Invoke API's. */
  clientContext: 'forkyard-client-context',
  traceparent: 'traceparent',
  /** `1`: only the instance that was started for this invocation may take it. */
  forcedStart: 'forkyard-forced-start',
  /** `1`: no scheduler has lent a slot; the node refuses with NO_INSTANCE unless an instance can pull the request at once. */
  ifIdle: 'forkyard-if-idle',
  /**
   * `1`: the last bytes of the body stay with the gateway until the node asks for them with a status 102, when an instance is there to take
   * the request. Only on nodes with a liveness link.
   */
  held: 'forkyard-held',
  /** Number of the attempt of an asynchronous invocation, counted from 1; absent: 1. */
  attempt: 'forkyard-attempt',
  /** The gateway's word of whose invocation it is, for calls that its function makes (`calls.ts`). Never shown to the function. */
  ticket: 'forkyard-ticket',
} as const

/**
 * Reply of the node gateway. Status 200: the handler ran; header `forkyard-function-error` (`Unhandled`) marks a function error
 * whose JSON is the body. In `http` kind the body starts with an `HttpPrelude`-style response prelude
 * (`{statusCode, headers, cookies}`, 8 NULs), then the response body. Any other status: an `ErrorBody`.
 * `forkyard-report` (JSON of InvocationReport, base64): a header in buffered mode, a trailer in stream mode.
 */
export const replyHeaders = {
  functionError: 'forkyard-function-error',
  report: 'forkyard-report',
  contentType: 'content-type',
} as const

/** A function that calls another one through a binding. */
export const CallingFunction = Type.Object({
  /** With its version. */
  arn: Type.String(),
  /** Account number of its tenant. */
  account: Type.String(),
  name: Type.String(),
  version: Type.String(),
  /** Of the one that called; absent when its instance handled several. */
  invocationId: Type.Optional(Type.String()),
})
export type CallingFunction = Static<typeof CallingFunction>

export const HttpPrelude = Type.Object({
  method: Type.String(),
  /** Origin-form target as received: path and query, still percent-encoded. */
  target: Type.String(),
  /** In order, names lower-case, one entry a value. */
  headers: Type.Array(Type.Tuple([Type.String(), Type.String()])),
  /** Host of the function URL, with port; of a call, the name that the function called. */
  host: Type.String(),
  /** Of a call: the binding's name. */
  urlId: Type.String(),
  /** Of a call: empty. */
  sourceIp: Type.String(),
  protocol: Type.String(),
  /** Epoch milliseconds at which the gateway received it. */
  receivedAt: Type.Integer(),
  /** Set when the URL's auth type is AWS_IAM: who called. */
  principal: Type.Optional(Type.String()),
  /** Account number of its tenant. */
  account: Type.Optional(Type.String()),
  /** Of a call. */
  caller: Type.Optional(CallingFunction),
})
export type HttpPrelude = Static<typeof HttpPrelude>

/** Separates a JSON prelude from the body that follows. */
export const preludeDelimiter = Buffer.alloc(8)
