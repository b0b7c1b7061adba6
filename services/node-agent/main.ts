import { configPath, readConfig } from '../chassis/config-file.ts'
import { createMetrics } from '../chassis/http-server.ts'
import { createLogger } from '../chassis/log.ts'
import { connectNats, openStore, whenReady } from '../chassis/nats.ts'
import { runService } from '../chassis/process.ts'
import { startAgent } from './agent.ts'
import { NodeAgentConfig } from './config.ts'

const configFile = configPath()
const config = readConfig(NodeAgentConfig, configFile)
const logger = createLogger('node-agent', config.logLevel)

await runService(logger, async () => {
  const connection = await connectNats(config.nats, `node-agent ${config.nodeId}`)
  const store = await whenReady(connection, logger, () => openStore(connection))
  return startAgent({ config, configFile, logger, metrics: createMetrics(), store })
})
