/** Tells the nodes where this gateway takes calls of functions: over NATS, so that gateways come and go without a change on any node. */
import type { NatsConnection } from '@nats-io/transport-node'
import { gatewayHereEveryMs, type GatewayHere } from '../../contracts/calls.ts'
import { subjects } from '../../contracts/subjects.ts'

/** @param connection its messages while it is away are lost, and told anew. @returns says that it leaves, and ends it */
export const announceGateway = (
  connection: Pick<NatsConnection, 'publish' | 'isClosed'>,
  url: string,
): (() => void) => {
  const say = (leaving: boolean): void => {
    if (!connection.isClosed())
      connection.publish(subjects.gatewayHere, JSON.stringify({ url, leaving } satisfies GatewayHere))
  }
  say(false)
  const timer = setInterval(say, gatewayHereEveryMs, false)
  return () => {
    clearInterval(timer)
    say(true)
  }
}
