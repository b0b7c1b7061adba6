import { configPath, readConfig } from '../chassis/config-file.ts'
import { createMetrics, drainServer } from '../chassis/http-server.ts'
import { createLogger } from '../chassis/log.ts'
import { connectNats } from '../chassis/nats.ts'
import { runService } from '../chassis/process.ts'
import { buildApp } from './app.ts'
import { SchedulerConfig } from './config.ts'
import { Dispatcher } from './dispatcher.ts'
import { Fleet } from './fleet.ts'
import { createSchedulerMetrics } from './metrics.ts'
import { createNodeClient } from './node-client.ts'
import { listenToReports } from './report-listener.ts'

const config = readConfig(SchedulerConfig, configPath())
const logger = createLogger('scheduler', config.logLevel)

/** How long a placement waits, at most, while no node is known or none accepts work: after a restart of either side. */
const firstNodeWaitMs = 5_000
/** A placement waits no longer than that for a node. */
const drainMs = 10_000

await runService(logger, async () => {
  const { internalToken, nodeToken, nodeTimeoutMs, tls } = config
  const registry = createMetrics()
  const fleet = new Fleet()
  const metrics = createSchedulerMetrics(registry, fleet)
  const nodes = createNodeClient(nodeToken, tls?.ca)
  const dispatcher = new Dispatcher({ fleet, nodes, metrics, logger, firstNodeWaitMs })
  const connection = await connectNats(config.nats, 'scheduler')
  const stopListening = listenToReports({ connection, fleet, dispatcher, metrics, logger, nodeTimeoutMs })
  // Ready without nodes: they come and go, and placements wait for the first.
  const notReady = () => (connection.isClosed() ? 'nats' : undefined)
  const app = buildApp({ logger, registry, internalToken, fleet, dispatcher, metrics, notReady, tls })
  const address = await app.listen(config.listen)
  logger.info({ address }, 'listening')
  return {
    close: async () => {
      dispatcher.close()
      await drainServer(app, drainMs)
      stopListening()
      await nodes.close()
      await connection.close()
    },
  }
})
