/** Runs invocations through the usage journal until it is killed; prints the id of each before it begins and after it is recorded. */
import { writeSync } from 'node:fs'
import { jetstream } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { pino } from 'pino'
import { UsageJournal, type UsageStart } from '../../services/node-agent/metering/usage-journal.ts'
import { UsagePublisher } from '../../services/node-agent/metering/usage-publisher.ts'

const [dir = '', servers = '', run = '', drainOnly = ''] = process.argv.slice(2)
const js = jetstream(await connect({ servers }))
const journal = new UsageJournal({ dir, segmentBytes: 4096 })
const publisher = new UsagePublisher({
  js,
  logger: pino({ level: 'silent' }),
  acknowledged: (record) => journal.acknowledged(record),
})
for (const record of journal.replayed) publisher.publish(record)
const invocations = drainOnly === '' ? Infinity : 0
for (let n = 0; n < invocations; n++) {
  const invocationId = `${run}-${n}`
  const [tenant, name, version, nodeId, instanceId] = ['t', 'f', '1', 'n', 'i']
  const start: UsageStart = {
    invocationId,
    attempt: 1,
    tenant,
    name,
    version,
    nodeId,
    instanceId,
    startType: 'warm',
    memoryMiB: 128,
    startedAt: Date.now(),
  }
  journal.begin(start)
  // The "request is handed over": from here on the invocation must be on record.
  writeSync(1, `${invocationId}\n`)
  await new Promise((resolve) => setTimeout(resolve, n % 3))
  const record = { ...start, outcome: 'ok' as const, billedMs: 1 }
  journal.end(record)
  publisher.publish(record)
}
await publisher.close(20_000)
process.exit(publisher.pending === 0 ? 0 : 1)
