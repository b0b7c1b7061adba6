/**
 * Functions that call functions. With each invocation a node gets a _ticket_: the gateway's word, under a key that no node has, of whose
 * invocation it is. The node's proxy shows it with what the function asks of another one, so a node can speak for those functions alone whose
 * invocations it was given, and for no longer than these may last.
 *
 * Node -> gateway: the function's own request, with these headers in place of any of the same names. The gateway answers as the called function
 * does; what it says itself carries `callHeaders.error`.
 */
import { Type, type Static } from 'typebox'

/** Names that begin like this are the platform's: what a function sends or answers under them is dropped. */
export const platformHeaderPrefix = 'forkyard-'

export const callHeaders = {
  /** `Bearer <token>`: of this hop, so the function's `authorization` is its own. */
  token: 'proxy-authorization',
  ticket: 'forkyard-ticket',
  /** Name of the binding. */
  binding: 'forkyard-binding',
  /** `1`: several invocations run where the call came from, and the ticket is one of theirs. */
  shared: 'forkyard-shared',
  /** In the answer: the code of the gateway's error. */
  error: 'forkyard-error',
} as const

/** What the called function sees of who calls, beside its event's `requestContext.authorizer.function`. Nobody else can send them. */
export const callerHeaders = {
  arn: 'x-forkyard-caller',
  invocation: 'x-forkyard-caller-invocation',
} as const

/** `http://lambda.NAME.internal`: not the bound function itself, but Lambda's Invoke of all that are bound. */
export const lambdaLabel = 'lambda'

/** Calls in a chain of functions, whatever functions they are: a loop ends there. */
export const maxHops = 16

export const Ticket = Type.Object(
  {
    tenant: Type.String(),
    name: Type.String(),
    version: Type.String(),
    invocationId: Type.String(),
    /** Epoch milliseconds; the ticket is good until then. */
    deadlineAt: Type.Integer(),
    /** Calls that led to this invocation: 0 for one that came from outside. */
    hops: Type.Integer({ minimum: 0 }),
  },
  { additionalProperties: false },
)
export type Ticket = Static<typeof Ticket>

/** What a ticket says, not whether it is true. Its text: `t1.<key id>.<payload>.<mac>`. */
export const ticketPayload = (text: string): unknown => {
  try {
    return JSON.parse(Buffer.from(text.split('.')[2] ?? '', 'base64url').toString())
  } catch {
    return undefined
  }
}

/** Gateway -> nodes, NATS subject `gateway.here`. */
export const GatewayHere = Type.Object(
  {
    /** Where nodes reach it. */
    url: Type.String({ pattern: '^https?://' }),
    /** It drains: calls go to others. */
    leaving: Type.Boolean(),
  },
  { additionalProperties: false },
)
export type GatewayHere = Static<typeof GatewayHere>

/** Every so often a gateway says so. */
export const gatewayHereEveryMs = 1_000
