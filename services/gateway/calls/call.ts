/** A function calls another one: what the gateway knows of it once the ticket is checked. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Ticket } from '../../contracts/calls.ts'
import type { GatewayDeps } from '../deps.ts'
import type { FunctionBindings } from './function-bindings.ts'
import type { Tickets } from './tickets.ts'

export interface CallDeps extends GatewayDeps {
  readonly tickets: Pick<Tickets, 'check'>
  readonly functionBindings: Pick<FunctionBindings, 'find'>
}

export interface Call {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Of the invocation that comes of it. */
  readonly requestId: string
  /** `performance.now()`. */
  readonly receivedAt: number
  readonly ticket: Ticket
  /** With this one. */
  readonly hops: number
  /** Name of the binding that it came through. */
  readonly binding: string
}

/** Of a header that is there once. */
export const single = ({ headers }: IncomingMessage, name: string): string | undefined => {
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}
