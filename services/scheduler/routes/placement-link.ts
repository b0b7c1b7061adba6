/** Hop in from the gateways: places for invocations, and the ends of their leases, over links. */
import { Compile } from 'typebox/compile'
import type { Session } from '../../chassis/link/accept.ts'
import type { Message } from '../../chassis/link/link.ts'
import { ClaimedMessage, ClaimsMessage } from '../../contracts/claims.ts'
import { PlatformError } from '../../contracts/errors.ts'
import {
  OverMessage,
  placementOf,
  PlaceMessage,
  RevisionMessage,
  TermMessage,
  WaitsMessage,
  type RevisionNeeds,
} from '../../contracts/links.ts'
import type { Placement } from '../../contracts/placement.ts'
import type { ClaimBook } from '../claim-book.ts'
import type { Dispatcher } from '../dispatcher.ts'
import type { SchedulerMetrics } from '../metrics.ts'

const schemas = {
  revision: Compile(RevisionMessage),
  place: Compile(PlaceMessage),
  over: Compile(OverMessage),
  term: Compile(TermMessage),
  waits: Compile(WaitsMessage),
  claims: Compile(ClaimsMessage),
  claimed: Compile(ClaimedMessage),
}

const placed = ({ nodeId, nodeUrl, decision, reason }: Placement, term: number): Message => [
  nodeId,
  nodeUrl,
  decision,
  reason,
  term,
]

const nothing: Message = []

export const placementSession = (
  dispatcher: Pick<Dispatcher, 'place' | 'over' | 'requireLead'>,
  heardOf: (term: number) => void,
  seconds: Pick<SchedulerMetrics['placementSeconds'], 'observe'>,
  claims: ClaimBook,
): Session => {
  const teller = {}
  const revisions = new Map<number, RevisionNeeds>()
  let tellsWaits = false
  const timed = (from: number, placement: Placement): Message => {
    seconds.observe((performance.now() - from) / 1000)
    return placed(placement, dispatcher.requireLead())
  }
  const late = (from: number, placement: Placement): Message => {
    const message = timed(from, placement)
    return tellsWaits ? [...message, performance.now() - from] : message
  }
  return {
    handle: (message, gone) => {
      if (schemas.place.Check(message)) {
        const from = performance.now()
        const needs = revisions.get(message[2])
        if (!needs) throw new PlatformError('INVALID_REQUEST', `revision ${message[2]} was not told`)
        const answer = dispatcher.place(placementOf(needs, message), gone)
        return answer instanceof Promise ? answer.then((placement) => late(from, placement)) : timed(from, answer)
      }
      if (schemas.over.Check(message)) dispatcher.over(message[2])
      else if (schemas.term.Check(message)) heardOf(message[2])
      else if (schemas.waits.Check(message)) tellsWaits = true
      else if (schemas.claims.Check(message)) for (const claim of message[2]) claims.tell(teller, claim)
      else if (schemas.claimed.Check(message)) {
        claims.toldAll()
        if (message[1] > 0) dispatcher.requireLead()
      } else if (schemas.revision.Check(message)) revisions.set(message[2], message[3])
      else throw new PlatformError('INVALID_REQUEST', `the message ${String(message[0])} does not fit its schema`)
      return nothing
    },
    close: () => claims.gone(teller),
  }
}
