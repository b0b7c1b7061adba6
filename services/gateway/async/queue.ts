/** The durable queue of asynchronous invocations: what is in it was acknowledged by JetStream, and leaves with its outcome. */
import { headers as natsHeaders, type MsgHdrs } from '@nats-io/transport-node'
import { AckPolicy, type Consumer, type JetStreamClient } from '@nats-io/jetstream'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { streams, subjects } from '../../contracts/subjects.ts'
import type { GatewayMetrics } from '../metrics.ts'

/** Everything but the payload; travels as one JSON header. */
export const AsyncEvent = Type.Object({
  invocationId: Type.String(),
  tenant: Type.String(),
  name: Type.String(),
  qualifier: Type.Optional(Type.String()),
  /** Epoch milliseconds. */
  acceptedAt: Type.Integer(),
  clientContext: Type.Optional(Type.String()),
  traceparent: Type.Optional(Type.String()),
  /** Calls of functions that led to it. */
  hops: Type.Optional(Type.Integer({ minimum: 0 })),
  /** Invocation id of the dead letter that this event was. */
  redriveOf: Type.Optional(Type.String()),
})
export type AsyncEvent = Static<typeof AsyncEvent>

export const DeadLetter = Type.Object({
  ...AsyncEvent.properties,
  error: Type.Object({ type: Type.String(), message: Type.String() }),
  /** Times that the function ran. */
  attempts: Type.Integer(),
  failedAt: Type.Integer(),
})
export type DeadLetter = Static<typeof DeadLetter>

const header = 'Forkyard-Event'
const consumerName = 'gateway'

/** An attempt that says nothing for so long is somebody else's. Workers say they work every third of it. */
export const ackWaitMs = 30_000

export interface AsyncQueue {
  /** Resolves when the event is stored. Within two minutes, the same `messageId` (default: the invocation's) is stored once. */
  push(event: AsyncEvent, payload: Uint8Array, messageId?: string): Promise<void>
  bury(letter: DeadLetter, payload: Uint8Array): Promise<void>
  consumer(): Promise<Consumer>
  measure(metrics: GatewayMetrics): Promise<void>
}

const wrap = (value: AsyncEvent | DeadLetter): MsgHdrs => {
  const map = natsHeaders()
  map.set(header, Buffer.from(JSON.stringify(value)).toString('base64'))
  return map
}

const unwrap = (map: MsgHdrs | undefined): unknown => {
  try {
    return JSON.parse(Buffer.from(map?.get(header) ?? '', 'base64').toString())
  } catch {
    return undefined
  }
}

/** Nothing for a message that is not ours. */
export const eventOf = (map: MsgHdrs | undefined): AsyncEvent | undefined => {
  const value = unwrap(map)
  return Value.Check(AsyncEvent, value) ? value : undefined
}

export const letterOf = (map: MsgHdrs | undefined): DeadLetter | undefined => {
  const value = unwrap(map)
  return Value.Check(DeadLetter, value) ? value : undefined
}

export const createAsyncQueue = (js: JetStreamClient): AsyncQueue => {
  return {
    push: async (event, payload, messageId = event.invocationId) => {
      const options = { headers: wrap(event), msgID: messageId }
      await js.publish(subjects.asyncInvocation(event.tenant, event.name), payload, options)
    },
    bury: async (letter, payload) => {
      // The id makes burying twice, after a crash in between, one letter.
      const options = { headers: wrap(letter), msgID: `dead-${letter.invocationId}` }
      await js.publish(subjects.deadLetter(letter.tenant, letter.name), payload, options)
    },
    consumer: async () => {
      const config = {
        durable_name: consumerName,
        ack_policy: AckPolicy.Explicit,
        ack_wait: ackWaitMs * 1_000_000,
        max_deliver: -1,
        // Events that wait for their next attempt count as pending and must not block the others.
        max_ack_pending: -1,
      }
      const manager = await js.jetstreamManager()
      await manager.consumers.add(streams.async, config)
      return js.consumers.get(streams.async, consumerName)
    },
    measure: async (metrics) => {
      const manager = await js.jetstreamManager()
      const info = await manager.consumers.info(streams.async, consumerName)
      const { state } = await manager.streams.info(streams.async)
      metrics.asyncDepth.set({ state: 'pending' }, info.num_pending)
      metrics.asyncDepth.set({ state: 'in_flight' }, info.num_ack_pending)
      const firstAt = Date.parse(state.first_ts)
      metrics.asyncOldestSeconds.set(state.messages > 0 ? Math.max(0, (Date.now() - firstAt) / 1000) : 0)
    },
  }
}
