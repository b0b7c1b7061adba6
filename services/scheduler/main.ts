import { randomUUID } from 'node:crypto'
import { jetstream } from '@nats-io/jetstream'
import { Kvm } from '@nats-io/kv'
import { configPath, readConfig } from '../chassis/config-file.ts'
import { createMetrics, drainServer } from '../chassis/http-server.ts'
import { trustOfNodes } from '../chassis/joined-nodes.ts'
import { createLogger } from '../chassis/log.ts'
import { connectNats, whenReady } from '../chassis/nats.ts'
import { runService } from '../chassis/process.ts'
import { buckets } from '../contracts/subjects.ts'
import { buildApp } from './app.ts'
import { SchedulerConfig } from './config.ts'
import { ClaimBook } from './claim-book.ts'
import { Dispatcher } from './dispatcher.ts'
import { Fleet } from './fleet.ts'
import { followJoined } from './joined-nodes.ts'
import { leaseMs, Leadership } from './leadership.ts'
import { createSchedulerMetrics } from './metrics.ts'
import { createNodeClient } from './node-client.ts'
import { NodeKeeper } from './node-keeper.ts'
import { listenToReports } from './report-listener.ts'

const config = readConfig(SchedulerConfig, configPath())
const logger = createLogger('scheduler', config.logLevel)

/** How long a placement waits, at most, while no node is known or none accepts work: after a restart of either side. */
const firstNodeWaitMs = 5_000
/** So long nothing idle ends for want of a gateway that tells what is claimed. */
const claimsWaitMs = 10_000
/** A placement waits no longer than that for a node. */
const drainMs = 10_000

await runService(logger, async () => {
  const { internalToken, nodeToken, nodeTimeoutMs, tls, pools } = config
  const registry = createMetrics()
  const fleet = new Fleet(pools)
  const claims = new ClaimBook((claim) => fleet.claim(claim))
  let leadsSince = performance.now()
  const claimsKnown = () => claims.isComplete || performance.now() - leadsSince > claimsWaitMs
  const term = (): number | undefined => leadership.term
  const metrics = createSchedulerMetrics(registry, fleet, term)
  const nodes = createNodeClient((url) => trustOf(url))
  const deps = { fleet, nodes, metrics, logger, firstNodeWaitMs, term, claimsKnown }
  const dispatcher = new Dispatcher(deps)
  const connection = await connectNats(config.nats, 'scheduler')
  const { replicas } = config.nats
  const kvm = new Kvm(jetstream(connection))
  const openBucket = () => kvm.create(buckets.schedulers, { history: 1, ttl: leaseMs, replicas })
  const kv = await whenReady(connection, logger, openBucket)
  const keeper = new NodeKeeper({
    fleet,
    nodes,
    metrics,
    logger,
    leads: () => term() !== undefined,
    term: () => term() ?? 0,
  })
  const joined = followJoined({
    connection,
    open: () => kvm.open(buckets.nodes),
    verifyingKeys: config.verifyingKeys,
    logger,
    onChange: (nodeId, isNode, urls) => {
      if (!isNode) fleet.removeNode(nodeId)
      for (const url of urls) nodes.forget(url)
    },
  })
  const trustOf = trustOfNodes(joined, nodeToken, tls?.ca)
  const listener = listenToReports({
    connection,
    fleet,
    dispatcher,
    metrics,
    logger,
    nodeTimeoutMs,
    keeper,
    joined,
  })
  const run = randomUUID()
  const leadership: Leadership = new Leadership({
    kv,
    id: config.id ?? run,
    run,
    logger,
    connected: listener.connected,
    latestTerm: () => fleet.latestTerm,
    onGain: (gained) => {
      leadsSince = performance.now()
      fleet.inherit()
      listener.askAll(gained)
    },
    onLoss: () => dispatcher.resign(),
  })
  // Ready without nodes: they come and go, and placements wait for the first. Ready without leading: the next leader waits.
  const notReady = () => (connection.isClosed() ? 'nats' : undefined)
  const heardOf = (latest: number): void => leadership.heardOf(latest)
  const app = buildApp({
    logger,
    registry,
    internalToken,
    fleet,
    dispatcher,
    keeper,
    claims,
    metrics,
    heardOf,
    notReady,
    tls,
  })
  const address = await app.listen(config.listen)
  leadership.start()
  logger.info({ address }, 'listening')
  return {
    close: async () => {
      await leadership.close()
      dispatcher.close()
      await drainServer(app, drainMs)
      listener.stop()
      joined.close()
      await nodes.close()
      await connection.close()
    },
  }
})
