/**
 * What one would take instead of a scheduler: a JetStream work queue, from which every node pulls what it has room for. Counted from the
 * arrival to the moment at which a node has the request. It knows no idle instances: which node gets what is chance.
 */
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy, StorageType } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { percentile } from '../statistics.ts'
import { generateLoad } from './load.ts'
import { round, type ScheduleInput, type ScheduleRow } from './row.ts'

/** It does not get better with time. */
const mostSeconds = 20
const settleMs = 5_000

export const measureQueue = async (
  connections: readonly NatsConnection[],
  nodes: number,
  functions: number,
  { perSecond, seconds: wanted }: Pick<ScheduleInput, 'perSecond' | 'seconds'>,
): Promise<ScheduleRow> => {
  const seconds = Math.min(wanted, mostSeconds)
  const [first] = connections
  if (!first) throw new Error('no connection')
  const manager = await jetstreamManager(first)
  const stream = 'work'
  await manager.streams.add({
    name: stream,
    subjects: ['work.>'],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.Memory,
  })
  await manager.consumers.add(stream, {
    durable_name: 'nodes',
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 100_000,
  })
  const waits: number[] = []
  const pulls = await Promise.all(
    Array.from({ length: nodes }, async (_, index) => {
      const connection = connections[index % connections.length] as NatsConnection
      const consumer = await jetstream(connection).consumers.get(stream, 'nodes')
      const messages = await consumer.consume({ max_messages: 100 })
      const pull = async (): Promise<void> => {
        for await (const message of messages) {
          waits.push(performance.now() - Number(message.string()))
          message.ack()
        }
      }
      return { messages, done: pull() }
    }),
  )
  let [offered, errors] = [0, 0]
  const js = jetstream(connections.at(-1) ?? first)
  const open = new Set<Promise<void>>()
  const arrive = (at: number): void => {
    offered++
    const published: Promise<void> = js
      .publish(`work.function-${offered % functions}`, String(at))
      .then(
        () => undefined,
        () => void errors++,
      )
      .finally(() => open.delete(published))
    open.add(published)
  }
  const from = performance.now()
  await generateLoad({ perSecond, seconds, arrive })
  await Promise.all(open)
  const until = performance.now() + settleMs
  while (waits.length < offered - errors && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 10))
  const tookSeconds = (performance.now() - from) / 1000
  await Promise.all(pulls.map(async ({ messages }) => messages.close()))
  await Promise.all(pulls.map(async ({ done }) => done))
  return {
    name: 'work queue',
    nodes,
    functions,
    keepAliveMs: null,
    offeredPerSecond: round(offered / seconds),
    achievedPerSecond: round(waits.length / tookSeconds),
    p50Ms: round(percentile(waits, 0.5)),
    p99Ms: round(percentile(waits, 0.99)),
    errors: errors + Math.max(0, offered - errors - waits.length),
    cpuSecondsPerMillion: null,
    startShare: null,
  }
}
