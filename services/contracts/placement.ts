/** Gateway -> scheduler: a place for one invocation, and the lease on it with the answer. Over a link: `links.ts`. */
import { Type, type Static } from 'typebox'
import { InstancePolicy, ReservedConcurrency, runtimeNames } from './function.ts'

/** Names one revision of one version of one function: what an instance belongs to for its whole life. */
export const RevisionRef = Type.Object(
  { tenant: Type.String(), name: Type.String(), version: Type.String(), revisionId: Type.String() },
  { additionalProperties: false },
)
export type RevisionRef = Static<typeof RevisionRef>

/** Map key of a revision. The parts cannot contain `/` (names are `[A-Za-z0-9-_]`). */
export const revisionKey = (ref: RevisionRef): string => `${ref.tenant}/${ref.name}/${ref.version}/${ref.revisionId}`

export const startTypes = ['warm', 'fork', 'restore', 'boot'] as const
export type StartType = (typeof startTypes)[number]

/**
 * How a new instance may be made. `auto` lets the node choose the cheapest that works; the others force one way and never use an
 * idle instance (header `x-forkyard-start` of an invocation; for benchmarks and diagnosis).
 */
export const startWishes = [
  'auto',
  'boot',
  'restore',
  'restore-precreated',
  'restore-parked',
  'fork',
  'fork-parked',
] as const
export const StartWish = Type.Enum(startWishes)
export type StartWish = Static<typeof StartWish>

export const PlacementRequest = Type.Object(
  {
    invocationId: Type.String(),
    revision: RevisionRef,
    runtime: Type.Enum(runtimeNames),
    memoryMiB: Type.Integer(),
    policy: InstancePolicy,
    /** Of the function, over all its versions, as its gateway knows it. */
    reservedConcurrency: Type.Optional(ReservedConcurrency),
    startWish: StartWish,
    /** Epoch milliseconds; the one deadline of all hops. */
    deadlineAt: Type.Integer(),
    /** Nodes that just refused this invocation. */
    excludeNodes: Type.Array(Type.String()),
  },
  { additionalProperties: false },
)
export type PlacementRequest = Static<typeof PlacementRequest>

/**
 * The invocation is lent a slot on this node. The gateway sends the request to the node at once; the node's buffer holds it until
 * an instance of the revision pulls it. The lease ends when the node reports the invocation as ended, when the gateway gives it
 * back, or at the deadline.
 */
export const Placement = Type.Object(
  {
    invocationId: Type.String(),
    nodeId: Type.String(),
    /** Base URL of the node gateway. */
    nodeUrl: Type.String(),
    /** `idle`: an idle instance is there. `start`: this placement started one. `shared`: a slot of an instance that is busy or starting. */
    decision: Type.Union([Type.Literal('idle'), Type.Literal('start'), Type.Literal('shared')]),
    /** Why this node, in words, for logs and `explain`. */
    reason: Type.String(),
    /** By the gateway itself, while no scheduler leads: nothing is lent, the node takes the request if an instance is idle, and not otherwise. */
    direct: Type.Optional(Type.Literal(true)),
    /** In the scheduler, for a node, a slot or a turn to start; milliseconds. */
    waitedMs: Type.Optional(Type.Number({ minimum: 0 })),
  },
  { additionalProperties: false },
)
export type Placement = Static<typeof Placement>

/**
 * Gateway -> scheduler: `POST /v1/explanations`, with a PlacementRequest: what would be decided now, and from what.
 * Lends nothing and starts nothing.
 */
export const Explanation = Type.Object(
  {
    decision: Type.Enum(['idle', 'start', 'shared', 'none'] as const),
    /** Absent with `none`. */
    nodeId: Type.Optional(Type.String()),
    reason: Type.String(),
    /** Of nodes, in which the function runs; absent where it may run in none. */
    pool: Type.Optional(Type.String()),
    /** Nodes of the pool that a start looks at first, in the order in which they come. */
    candidates: Type.Array(
      Type.Object({
        nodeId: Type.String(),
        /** Share of its memory that is free and not kept for others, in percent; 0 where something speaks against the node. */
        score: Type.Integer(),
        freeMiB: Type.Integer(),
        /** Instances of the revision; among nodes that are about as loaded the fewest decide. */
        instances: Type.Integer(),
        /** Of the revision; those that have more come first while they are little more loaded. */
        holds: Type.Optional(Type.Enum(['checkpoint', 'code'] as const)),
        against: Type.Array(Type.String()),
      }),
    ),
    /** Nodes with instances of the revision. */
    held: Type.Array(
      Type.Object({
        nodeId: Type.String(),
        /** Slots that one more invocation may take. */
        freeSlots: Type.Integer(),
        /** Invocations that hold a slot. */
        leases: Type.Integer(),
        instances: Type.Array(
          Type.Object({
            instanceId: Type.String(),
            state: Type.Enum(['starting', 'idle', 'busy'] as const),
            inFlight: Type.Integer(),
            /** Milliseconds until its keep-alive ends it; only while idle. */
            endsInMs: Type.Optional(Type.Integer()),
          }),
        ),
      }),
    ),
  },
  { additionalProperties: false },
)
export type Explanation = Static<typeof Explanation>
