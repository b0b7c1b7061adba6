/** Puts the agent together: node gateway and node scheduler, and what carries their records off the node. */
import { mkdirSync } from 'node:fs'
import { cpus } from 'node:os'
import type { Server as TlsServer } from 'node:tls'
import { join } from 'node:path'
import type { Registry } from 'prom-client'
import type { Logger } from '../chassis/log.ts'
import type { Store } from '../chassis/nats.ts'
import { createSealer } from '../chassis/sealing.ts'
import { createVerifier } from '../chassis/signing.ts'
import type { Service } from '../chassis/process.ts'
import { drainServer } from '../chassis/http-server.ts'
import { buildApp } from './app.ts'
import { startCodeImages, type NodeImages } from './code-images/node-images.ts'
import { runtimeNames } from '../contracts/function.ts'
import type { NodeAgentConfig } from './config.ts'
import { FileDigests } from './file-digests.ts'
import type { NodeGatewayEvents } from './instance.ts'
import type { StayJoined } from './joining/stay-joined.ts'
import { LogPublisher } from './logs/log-publisher.ts'
import { UsageJournal } from './metering/usage-journal.ts'
import { UsagePublisher } from './metering/usage-publisher.ts'
import { createSchedulerMetrics } from './metrics.ts'
import { createNetworkMetrics } from './network/network-metrics.ts'
import { startNetwork, type RunningNetwork } from './network/start-network.ts'
import { createGatewayMetrics } from './node-gateway/gateway-metrics.ts'
import { createNodeGateway } from './node-gateway/node-gateway.ts'
import { CacheKeeper } from './node-scheduler/cache/cache-keeper.ts'
import { CachePlan } from './node-scheduler/cache/cache-plan.ts'
import { HabitsFile } from './node-scheduler/cache/habits-file.ts'
import { NodeCordon } from './node-scheduler/node-cordon.ts'
import { NodeScheduler } from './node-scheduler/node-scheduler.ts'
import { Reconciler } from './node-scheduler/reconciler.ts'
import { Reporter } from './node-scheduler/reporter.ts'
import { Revisions } from './node-scheduler/revisions.ts'
import { TermFence } from './node-scheduler/term-fence.ts'
import { SandboxStarter } from './node-scheduler/sandbox-starter.ts'
import { RuntimeChecks } from './runtime-checks.ts'
import { CgroupTree } from './sandbox/cgroup.ts'
import { loadHostCalls } from './sandbox/host-calls.ts'
import type { SandboxHost } from './sandbox/sandbox.ts'

export interface AgentDeps {
  readonly config: NodeAgentConfig
  /** Of a node that joined by a token; started already. */
  readonly stayJoined?: StayJoined | undefined
  readonly logger: Logger
  readonly metrics: Registry
  readonly store: Store
}

const sweepEveryMs = 5_000
const decideEveryMs = 1_000
const sweepCheckpointsEveryMs = 10_000
const saveHabitsEveryMs = 60_000
const publishGraceMs = 5_000
/** For the last bytes of answers, after every instance has ended. */
const answerGraceMs = 5_000

/** Listens, and reports the node once everything of an earlier run is gone. */
export const startAgent = async ({
  config: given,
  stayJoined,
  logger,
  metrics,
  store,
}: AgentDeps): Promise<Service> => {
  const digests = new FileDigests()
  const checks = new RuntimeChecks(digests)
  const config = { ...given, runtimes: await checks.usable(given, logger) }
  const { nodeId, region, limits, runDir, stateDir, runscPath, capacity } = config
  mkdirSync(runDir, { recursive: true, mode: 0o711 })
  const host: SandboxHost = {
    host: loadHostCalls(config.addonPath),
    cgroups: new CgroupTree(config.cgroupParent),
    runscPath,
    runDir,
  }
  const schedulerMetrics = createSchedulerMetrics(metrics)
  const gatewayMetrics = createGatewayMetrics(metrics)

  const journal = new UsageJournal({ dir: join(stateDir, 'usage') })
  const usage = new UsagePublisher({ js: store.js, logger, acknowledged: (record) => journal.acknowledged(record) })
  for (const record of journal.replayed) usage.publish(record)
  const logs = new LogPublisher({
    js: store.js,
    logger,
    onDropped: (bytes) => gatewayMetrics.logBytesDropped.inc(bytes),
  })

  // The two halves know each other; whoever is made first reaches the other through this.
  const events: NodeGatewayEvents = {
    stateChanged: (id) => scheduler.stateChanged(id),
    mustEnd: (id, exit) => scheduler.mustEnd(id, exit),
    willServe: (request) => scheduler.willServe(request),
    invocationArrived: (request) => plan.habits.arrived(request),
    invocationGone: (id) => plan.habits.gone(id),
    refusal: (revision) => scheduler.refusal(revision),
    invocationEnded: (id) => reporter.invocationEnded(id),
  }
  const gateway = createNodeGateway({
    nodeId,
    region,
    limits,
    events,
    journal,
    usage,
    logs,
    metrics: gatewayMetrics,
    environment: (of) => network.environment(of),
  })
  const sealer = createSealer(config.environmentKeys)
  const verifier = createVerifier(config.verifyingKeys)
  const code: NodeImages = startCodeImages({
    config,
    store,
    digests,
    verifier,
    metrics,
    logger,
    quiet: (signal) => starter.quiet(signal),
    checkpoints: () => starter.checkpoints.ready(),
  })
  const { images } = code
  const revisions = new Revisions(store.functions, verifier, sealer)
  const runtimes = new Map(
    runtimeNames.flatMap((name) => {
      const files = config.runtimes[name]
      return files ? [[name, { restorable: files.checkpointPath !== undefined }] as const] : []
    }),
  )
  const habits = new HabitsFile(join(stateDir, 'habits.json'), logger)
  const plan = new CachePlan({ config, runtimes, saved: habits.read() })
  const network: RunningNetwork = await startNetwork({
    config,
    sealer,
    verifier,
    callers: gateway,
    calls: host.host,
    store,
    logger,
    metrics: createNetworkMetrics(metrics),
  })
  const starter: SandboxStarter = new SandboxStarter({
    config,
    networks: network.networks,
    host,
    gateway,
    images,
    checks,
    logger,
    logs,
    revisions,
    metrics: schedulerMetrics,
    plan,
  })
  const scheduler: NodeScheduler = new NodeScheduler({
    gateway,
    starter,
    revisions,
    plan,
    makeRoom: () => cache.makeRoom(),
    fill: () => cache.fill(),
    logger,
    startParallelism: config.startParallelism,
    maxInstances: capacity.instances,
    onChange: (report) => reporter.instanceChanged(report),
    metrics: schedulerMetrics,
  })

  const cache: CacheKeeper = new CacheKeeper({
    plan,
    starter,
    scheduler,
    capacityMiB: capacity.memoryMiB,
    metrics: schedulerMetrics,
  })

  const reconciler = new Reconciler(host, logger)
  await Promise.all([reconciler.sweep(starter.liveIds()), images.removePartial(), starter.store.removeUnfinished()])
  const sweeping = setInterval(() => void reconciler.sweep(starter.liveIds()), sweepEveryMs)
  const deciding = setInterval(() => {
    void cache.tick()
    scheduler.fill()
  }, decideEveryMs)
  const sweepingCheckpoints = setInterval(() => void starter.checkpoints.sweep(), sweepCheckpointsEveryMs)
  const savingHabits = setInterval(() => habits.write(plan.habits.save()), saveHabitsEveryMs)

  const fence = new TermFence()
  const cordon = new NodeCordon(join(stateDir, 'cordon.json'), logger, () => reporter.publishFull())
  let closing = false
  const notReady = () =>
    closing
      ? 'draining'
      : stayJoined?.removed
        ? 'its place in the installation'
        : store.connection.isClosed()
          ? 'nats'
          : journal.problem
  const explainer = { nodeId, plan, cache, starter, scheduler, revisions }
  const { internalToken, schedulerToken } = config
  const tls = stayJoined?.tls ?? config.tls
  const tokens = { internalToken, schedulerToken }
  const app = buildApp({ logger, metrics, ...tokens, gateway, scheduler, fence, cordon, explainer, notReady, tls })
  if (stayJoined)
    stayJoined.useCertificate = ({ cert, key }) =>
      (app.server as unknown as TlsServer).setSecureContext({ cert, key, minVersion: 'TLSv1.3' })
  const address = await app.listen(config.listen)
  const reporter: Reporter = new Reporter({
    connection: store.connection,
    nodeId,
    fence,
    cordon: () => cordon.current,
    url: () => address,
    accepting: () => !closing && stayJoined?.removed !== true && journal.problem === undefined,
    capacity: { ...capacity, cpus: cpus().length },
    pool: config.pool,
    labels: config.labels,
    cache: () => cache.held,
    all: () => scheduler.reports(),
  })
  reporter.start()
  await code.open()
  scheduler.fill()
  logger.info({ address, runtimes: Object.keys(config.runtimes) }, 'listening')

  return {
    close: async () => {
      closing = true
      stayJoined?.close()
      // The schedulers hear it before the instances go.
      reporter.publishFull()
      clearInterval(sweeping)
      clearInterval(deciding)
      clearInterval(sweepingCheckpoints)
      clearInterval(savingHabits)
      habits.write(plan.habits.save())
      await code.close()
      // Seeds hold instances, so they end after them.
      await scheduler.close()
      await starter.close()
      await network.close()
      await drainServer(app, answerGraceMs)
      reporter.stop()
      await Promise.all([usage.close(publishGraceMs), logs.flush()])
      journal.close()
      await store.connection.drain()
    },
  }
}
