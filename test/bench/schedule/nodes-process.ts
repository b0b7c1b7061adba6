/** Simulated nodes, as a process of their own: a clock runs what the load sends, and every end goes back. */
import { createServer } from 'node:net'
import { once } from 'node:events'
import { connect } from '@nats-io/transport-node'
import { revisionKey } from '../../../services/contracts/placement.ts'
import type { NodesInput, NodesOrder } from './processes.ts'
import { invocationFields, invocationIdOf, versionOf } from './invocations.ts'
import { RecordStream } from './record-stream.ts'
import { SimulatedTime } from './simulated-time.ts'
import { startFleet } from './simulated-nodes.ts'

const { nats, token, indexes, functions, keepAliveMs, socketPath } = JSON.parse(process.argv[2] ?? '') as NodesInput
const keys = Array.from({ length: functions }, (_, index) => revisionKey(versionOf(index, keepAliveMs)))
/** Shared by all of them; in life each has its own. */
const connection = await connect({ servers: nats.url, user: nats.login.user, pass: nats.login.password })
const time = new SimulatedTime()
const fleet = await startFleet({ indexes, connection, token, time })

const server = createServer((socket) => {
  const load = new RecordStream(socket, invocationFields, (record) => {
    const [number = 0, node = 0, index = 0, microseconds = 0] = record
    fleet.nodes
      .get(node)
      ?.invoke(invocationIdOf(number), keys[index] ?? '', microseconds / 1000, () => load.send(number))
  })
})
await once(server.listen(socketPath), 'listening')

const stop = async (): Promise<void> => {
  server.close()
  await fleet.stop()
  time.stop()
  await connection.close()
  // A profile is written at the end of a process that ends by itself.
  process.exit(0)
}
process.on('message', (order: NodesOrder) => {
  if (order === 'stop') void stop()
})
process.send?.({ kind: 'ready' })
