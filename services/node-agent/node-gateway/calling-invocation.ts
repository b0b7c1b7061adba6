/** In the name of which invocation a function calls another one. */
import { Value } from 'typebox/value'
import { Ticket, ticketPayload } from '../../contracts/calls.ts'
import type { InvocationRequest } from './invocation.ts'

export interface CallingInvocation {
  readonly ticket: string
  readonly traceparent: string | undefined
  /** It is one of several that the call may have come from. */
  readonly shared: boolean
}

/** Pure. Of several the one that most calls led to, so that no loop is taken for shorter than it is. */
export const chooseInvocation = (requests: readonly InvocationRequest[]): CallingInvocation | undefined => {
  const [longest] = requests
    .flatMap(({ ticket, traceparent }) => (ticket === undefined ? [] : [{ ticket, traceparent, hops: hopsOf(ticket) }]))
    .toSorted((a, b) => b.hops - a.hops)
  return longest && { ticket: longest.ticket, traceparent: longest.traceparent, shared: requests.length > 1 }
}

const hopsOf = (text: string): number => {
  const payload = ticketPayload(text)
  return Value.Check(Ticket, payload) ? payload.hops : 0
}
