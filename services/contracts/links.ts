/**
 * Links between services (`chassis/link`): what is said on them. A message is `[kind, call, ...]`; its answer `['done', call, ...]` or
 * `['refused', call, ErrorBody]`. Call 0 is answered by nobody. `['cancel', call]` says that nobody waits any more.
 */
import { Type, type Static } from 'typebox'
import { InstancePolicy, ReservedConcurrency, runtimeNames } from './function.ts'
import { Cordon, StartInstance } from './node.ts'
import { Placement, RevisionRef, StartWish, type PlacementRequest } from './placement.ts'

/** Gateway -> scheduler. */
export const placementLink = '/v1/placement-link'

/** What all placements of a revision have in common; told once on a connection, and again under the same number when it changes. */
export const RevisionNeeds = Type.Object(
  {
    revision: RevisionRef,
    runtime: Type.Enum(runtimeNames),
    memoryMiB: Type.Integer(),
    policy: InstancePolicy,
    /** The only one that may change. */
    reservedConcurrency: Type.Optional(ReservedConcurrency),
  },
  { additionalProperties: false },
)
export type RevisionNeeds = Static<typeof RevisionNeeds>

/** Revisions that a connection knows at the same time. A number that is told again is another revision from then on. */
export const maxRevisions = 65_536
/** Invocations in one `over`. */
export const maxOver = 1000

const Call = Type.Integer({ minimum: 0 })
const Invocations = Type.Array(Type.String(), { maxItems: maxOver })
const RevisionNumber = Type.Integer({ minimum: 0, exclusiveMaximum: maxRevisions })

/** One way. */
export const RevisionMessage = Type.Tuple([Type.Literal('revision'), Call, RevisionNumber, RevisionNeeds])
/** Number of the revision, then the invocation: id, start wish, deadline, nodes to leave out. Answered with a PlacedMessage. */
export const PlaceMessage = Type.Tuple([
  Type.Literal('place'),
  Call,
  RevisionNumber,
  Type.String(),
  StartWish,
  Type.Integer(),
  Type.Array(Type.String()),
])
/**
 * One way: these invocations hold their slots no longer, because their whole answer is here or because they were given up. The nodes report
 * that too, but a caller's next request may be faster than that.
 */
export const OverMessage = Type.Tuple([Type.Literal('over'), Call, Invocations])

/** One way: the latest term of a scheduler that the gateway knows of. */
export const TermMessage = Type.Tuple([Type.Literal('term'), Call, Type.Integer({ minimum: 0 })])

/** After `done` and the call: the fields of a Placement, and the scheduler's term. */
export const Placed = Type.Tuple([
  Placement.properties.nodeId,
  Placement.properties.nodeUrl,
  Placement.properties.decision,
  Placement.properties.reason,
  Type.Integer({ minimum: 0 }),
])
export type Placed = Static<typeof Placed>

/** One way, first on a connection: the gateway understands PlacedLate. A scheduler of the version before does not know it, and answers nothing. */
export const WaitsMessage = Type.Tuple([Type.Literal('waits'), Call])
/** The same of a placement that waited in the scheduler, and for how long, in milliseconds. */
export const PlacedLate = Type.Tuple([...Placed.items, Type.Number({ minimum: 0 })])

export const placementOf = (
  needs: RevisionNeeds,
  [, , , invocationId, startWish, deadlineAt, excludeNodes]: Static<typeof PlaceMessage>,
): PlacementRequest => ({
  ...needs,
  invocationId,
  startWish,
  deadlineAt,
  excludeNodes,
})

/** Scheduler -> node. */
export const instanceLink = '/v1/instance-link'

/** The scheduler's term: what is older than the latest that the node knows is refused with STALE_TERM. */
const Term = Type.Integer({ minimum: 0 })
/** Done as soon as the start is queued. */
export const StartMessage = Type.Tuple([Type.Literal('start'), Call, Term, StartInstance])
/** Instance and reason. An idle instance ends at once, a busy one after its requests; one that is not there has ended already. */
export const EndMessage = Type.Tuple([Type.Literal('end'), Call, Term, Type.String(), Type.String()])
/** Without a cordon: it ends. Under no term: it harms nobody if said by a scheduler that was just replaced, and the node tells all of it. */
export const CordonMessage = Type.Tuple([Type.Literal('cordon'), Call, Type.Union([Cordon, Type.Null()])])

/** Gateway -> node. Nothing is said on it: it tells whether the node gives signs of life. */
export const livenessLink = '/v1/liveness-link'
