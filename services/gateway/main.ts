import { setTimeout as delay } from 'node:timers/promises'
import { Kvm } from '@nats-io/kv'
import { ConfigError, configPath, readConfig } from '../chassis/config-file.ts'
import { createMetrics, drainServer } from '../chassis/http-server.ts'
import { followJoinedNodes, trustOfNodes } from '../chassis/joined-nodes.ts'
import { createLogger } from '../chassis/log.ts'
import { connectNats, makeStore, whenReady } from '../chassis/nats.ts'
import { runService } from '../chassis/process.ts'
import { createSealer } from '../chassis/sealing.ts'
import { createSigner } from '../chassis/signing.ts'
import { buckets } from '../contracts/subjects.ts'
import { AccessDirectory } from './access/directory.ts'
import { buildApp } from './app.ts'
import { createImageBuilder } from './archive/build-image.ts'
import { createDeadLetters } from './async/dead-letters.ts'
import { createAsyncQueue } from './async/queue.ts'
import { startAsyncWorkers } from './async/worker.ts'
import { announceGateway } from './calls/announce.ts'
import { startCallServer } from './calls/call-server.ts'
import { followBindings } from './calls/function-bindings.ts'
import { createCallHandler } from './calls/handle-call.ts'
import { createTickets } from './calls/tickets.ts'
import { createCodeStore } from './code-store.ts'
import { GatewayConfig } from './config.ts'
import { createInvoker } from './invoke/invoker.ts'
import { createJoining } from './joining/joining.ts'
import { answerForNatsUsers } from './joining/nats-users.ts'
import { createNodeHop } from './joining/node-hop.ts'
import { createAuditTail, createLogTail } from './logs/tail.ts'
import { createGatewayMetrics } from './metrics.ts'
import { createBindingStore } from './bindings.ts'
import { createNetworkPolicies } from './network-policies.ts'
import { createNodeClient } from './node-client.ts'
import { watchReadiness } from './readiness.ts'
import { Registry } from './registry.ts'
import { BodyBudget } from './routes/read-body.ts'
import { createSchedulerClient } from './scheduler-client.ts'

const config = readConfig(GatewayConfig, configPath())
if (config.joining && !config.calls)
  throw new ConfigError(configPath(), '/joining needs /calls: machines join over that port')
const logger = createLogger('gateway', config.logLevel)

/** An invocation that takes longer than this after SIGTERM is cut off; the supervisor would kill the process soon after. */
const drainMs = 28_000
const graceMs = 32_000
/** Between the word that this gateway leaves and the end of its port for nodes. */
const leavingMs = 250
const retryBaseMs = config.asyncRetryBaseMs ?? 60_000
/** Longer than an event may wait, with its attempts. */
const asyncStateTtlMs = 24 * 3_600_000

await runService(
  logger,
  async () => {
    const {
      region,
      limits,
      internalToken,
      nodeToken,
      internalCa,
      schedulerUrls,
      stagingDir,
      asyncWorkers: workers,
    } = config
    const closing = new AbortController()
    const metricsRegistry = createMetrics()
    const metrics = createGatewayMetrics(metricsRegistry)
    const images = createImageBuilder(stagingDir, limits)
    await images.removeLeftovers()
    const connection = await connectNats(config.nats, 'gateway')
    const store = await whenReady(connection, logger, () => makeStore(connection, config.nats))
    const { replicas } = config.nats
    const state = await new Kvm(store.js).create(buckets.asyncState, { history: 1, replicas, ttl: asyncStateTtlMs })
    const signer = createSigner(config.signing)
    const environmentSealer = createSealer(config.sealing.environment)
    const registry = new Registry({
      kv: store.functions,
      connection,
      logger,
      region,
      sealer: environmentSealer,
      signer,
      adoptUnsigned: config.adoptUnsigned,
    })
    const ofNetwork = { kv: store.network, signer, adoptUnsigned: config.adoptUnsigned }
    const networkPolicies = createNetworkPolicies(ofNetwork)
    const bindings = createBindingStore({ ...ofNetwork, sealer: environmentSealer })
    await Promise.all([networkPolicies.signAnew(), bindings.signAnew()])
    registry.start()
    const access = new AccessDirectory({
      kv: await new Kvm(store.js).create(buckets.access, { history: 1, replicas }),
      connection,
      logger,
      sealer: createSealer(config.sealing.access),
      signer,
      accounts: config.accounts,
    })
    access.start()
    const scheduler = createSchedulerClient(schedulerUrls, internalToken, internalCa)
    const joined = followJoinedNodes({ kv: store.nodes, connection, logger, verifier: signer }, (_nodeId, urls) => {
      for (const url of urls) nodes.changed(url)
    })
    joined.start()
    const nodes = createNodeClient({
      trustOf: trustOfNodes(joined, nodeToken, internalCa),
      onLost: (nodeUrl) => {
        metrics.lostNodes.inc()
        logger.warn({ nodeUrl }, 'a node gives no signs of life: what it had is answered with an error')
      },
    })
    scheduler.follow(registry)
    const tickets = createTickets(config.signing)
    const invoker = createInvoker({ scheduler, nodes, registry, region, startBudgetMs: limits.startBudgetMs, tickets })
    const functionBindings = followBindings({
      kv: store.network,
      connection,
      logger,
      sealer: environmentSealer,
      verifier: signer,
    })
    functionBindings.start()
    const joining = createJoining({ config, kv: store.nodes, signer, joined, scheduler, logger })
    await joining?.signAnew()
    const endNatsUsers =
      config.joining && answerForNatsUsers({ connection, joined, issuerSeed: config.joining.issuerSeed, logger })
    const queue = createAsyncQueue(store.js)
    const readiness = watchReadiness({ connection, registry, access, scheduler, closing: closing.signal })
    const deps = {
      config,
      logger,
      metricsRegistry,
      metrics,
      registry,
      access,
      networkPolicies,
      bindings,
      code: createCodeStore(store.code),
      images,
      invoker,
      scheduler,
      nodes,
      joining,
      queue,
      deadLetters: createDeadLetters(store.js, queue),
      logs: createLogTail(store.js),
      audit: createAuditTail(store.js),
      bodies: new BodyBudget(limits.bufferedBytes),
      notReady: readiness.missing,
      closing: closing.signal,
    }
    const app = buildApp(deps)
    const stopWorkers = startAsyncWorkers({
      queue,
      state,
      registry,
      invoker,
      metrics,
      logger,
      region,
      workers,
      retryBaseMs,
    })
    const address = await app.listen(config.listen)
    const onCall = createCallHandler({ ...deps, tickets, functionBindings })
    const nodeHop = joining && {
      isNode: (shown: string | undefined) => joining.isNode(shown),
      handle: createNodeHop(joining, logger),
    }
    const calls = config.calls && (await startCallServer(config.calls, limits.requestMs, onCall, nodeHop))
    const leave = calls && announceGateway(connection, calls.url)
    logger.info({ address, calls: calls?.url }, 'listening')
    return {
      close: async () => {
        closing.abort()
        leave?.()
        // Nodes hear first that it leaves: none of them is about to use a connection that closes.
        const closeCalls = async () => calls && (await delay(leavingMs).then(() => calls.close(drainMs - leavingMs)))
        await Promise.all([drainServer(app, drainMs), closeCalls(), stopWorkers(drainMs)])
        registry.close()
        functionBindings.close()
        access.close()
        joined.close()
        endNatsUsers?.()
        await Promise.all([scheduler.close(), nodes.close()])
        await connection.close()
      },
    }
  },
  graceMs,
)
