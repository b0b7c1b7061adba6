import { configPath, readConfig } from '../chassis/config-file.ts'
import { createMetrics } from '../chassis/http-server.ts'
import { createLogger } from '../chassis/log.ts'
import { connectNats, openStore, whenReady } from '../chassis/nats.ts'
import { runService } from '../chassis/process.ts'
import { startAgent } from './agent.ts'
import { NodeAgentConfig } from './config.ts'
import { StayJoined } from './joining/stay-joined.ts'

const configFile = configPath()
const config = readConfig(NodeAgentConfig, configFile)
const logger = createLogger('node-agent', config.logLevel)

/** As a supervisor ends it: what it has is answered first, if it has anything yet. */
const beginAnew = (): void => void process.kill(process.pid, 'SIGTERM')

await runService(logger, async () => {
  const stayJoined = config.joined && new StayJoined({ config, configFile, logger, beginAnew })
  stayJoined?.start()
  const connection = await connectNats(config.nats, `node-agent ${config.nodeId}`)
  const store = await whenReady(connection, logger, () => openStore(connection))
  return startAgent({ config, stayJoined, logger, metrics: createMetrics(), store })
})
