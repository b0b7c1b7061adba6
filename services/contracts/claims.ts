/**
 * What functions ask for beyond the moment: capacity that is theirs. Gateways, which know the registry, tell every scheduler that they have a
 * link to: all on each new connection, and each change after that.
 */
import { Type, type Static } from 'typebox'
import { ReservedConcurrency } from './function.ts'
import { RevisionNeeds } from './links.ts'
import { RevisionRef } from './placement.ts'

/** Instances of one version that are to be there, initialised, without a request. */
export const ProvisionedClaim = Type.Object(
  {
    needs: RevisionNeeds,
    /** Invocations at the same time; an instance takes `policy.concurrency` of them. */
    concurrency: Type.Integer({ minimum: 1 }),
  },
  { additionalProperties: false },
)
export type ProvisionedClaim = Static<typeof ProvisionedClaim>

export const FunctionClaim = Type.Object(
  {
    /** As `$LATEST` has it: what a place that is kept for the function must have room for. */
    needs: Type.Object(
      {
        revision: Type.Object(
          { tenant: RevisionRef.properties.tenant, name: RevisionRef.properties.name },
          { additionalProperties: false },
        ),
        runtime: RevisionNeeds.properties.runtime,
        memoryMiB: RevisionNeeds.properties.memoryMiB,
        policy: RevisionNeeds.properties.policy,
      },
      { additionalProperties: false },
    ),
    /** Invocations that the function can always have at the same time. */
    reservedConcurrency: Type.Optional(ReservedConcurrency),
    /** By version. */
    provisioned: Type.Array(ProvisionedClaim),
  },
  { additionalProperties: false },
)
export type FunctionClaim = Static<typeof FunctionClaim>

/** In one message; a frame of a link has room for that. */
export const maxClaims = 200

const Call = Type.Integer({ minimum: 0 })
/** One way. One without a reservation and without provisioned versions takes back what was claimed. */
export const ClaimsMessage = Type.Tuple([
  Type.Literal('claims'),
  Call,
  Type.Array(FunctionClaim, { maxItems: maxClaims }),
])
/** All claims that this gateway knows were told. What is left of gateways that are gone is void. As a call it is refused with NOT_LEADER by who does not lead. */
export const ClaimedMessage = Type.Tuple([Type.Literal('claimed'), Call])

/** `POST /v1/provisioned` to a scheduler, with revisions: how far each is. */
export const ProvisionedState = Type.Object(
  {
    /** Invocations that instances which are initialised can take at the same time, up to what is claimed. */
    available: Type.Integer(),
    /** The same, with instances that are being started. */
    allocated: Type.Integer(),
    /** Why it goes no further just now. */
    problem: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type ProvisionedState = Static<typeof ProvisionedState>
