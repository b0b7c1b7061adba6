/** A gateway that listens on loopback, over a store in memory, a scheduler that always has a place, and a fake node. */
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import { LambdaClient } from '@aws-sdk/client-lambda'
import { pino } from 'pino'
import { Registry as MetricsRegistry } from 'prom-client'
import { Value } from 'typebox/value'
import { ZipFile } from 'yazl'
import type { NodeExplanation } from '../../contracts/node.ts'
import type { PlacementRequest } from '../../contracts/placement.ts'
import { followJoinedNodes } from '../../chassis/joined-nodes.ts'
import { createSealer } from '../../chassis/sealing.ts'
import { createSigner } from '../../chassis/signing.ts'
import { AccessDirectory } from '../access/directory.ts'
import { buildApp } from '../app.ts'
import { createTickets } from '../calls/tickets.ts'
import { checkHandler } from '../archive/handler-files.ts'
import { readArchive } from '../archive/read-archive.ts'
import type { AsyncEvent } from '../async/queue.ts'
import { GatewayConfig } from '../config.ts'
import type { GatewayDeps } from '../deps.ts'
import { createInvoker } from '../invoke/invoker.ts'
import { createJoining } from '../joining/joining.ts'
import { createGatewayMetrics } from '../metrics.ts'
import { createBindingStore } from '../bindings.ts'
import { createNetworkPolicies } from '../network-policies.ts'
import { createNodeClient } from '../node-client.ts'
import { Registry } from '../registry.ts'
import { BodyBudget } from '../routes/read-body.ts'
import type { SchedulerClient } from '../scheduler-client.ts'
import { watchConformance } from './conformance.ts'
import { startFakeNode, type FakeNode } from './fake-node.ts'
import { memoryKv } from './memory-kv.ts'

export const account = {
  accessKeyId: 'AKIATESTTESTTEST0001',
  secretAccessKey: 'secret-of-this-test-0001',
  tenant: 'default',
}
export const otherAccount = {
  accessKeyId: 'AKIATESTTESTTEST0002',
  secretAccessKey: 'secret-of-this-test-0002',
  tenant: 'two',
}
export const region = 'eu-test-1'
const testSeed = { id: 's1', seed: '0'.repeat(64) }
export const testSigner = createSigner([testSeed])
const testKey = { id: 's1', key: '0'.repeat(64) }

export interface TestGateway {
  readonly url: string
  readonly port: number
  readonly node: FakeNode
  readonly deps: GatewayDeps
  readonly app: ReturnType<typeof buildApp>
  /** Replies so far that the OpenAPI document does not allow. */
  readonly problems: readonly string[]
  readonly placements: PlacementRequest[]
  /** Node, action and reason. */
  readonly toldNodes: readonly string[][]
  /** Invocations that hold no slot any more. */
  readonly over: string[]
  readonly pushed: { event: AsyncEvent; payload: Buffer }[]
  /** Begins the drain, as SIGTERM does. */
  readonly closing: AbortController
  client(as?: typeof account): LambdaClient
  close(): Promise<void>
}

export interface TestGatewayOptions {
  readonly limits?: Partial<GatewayConfig['limits']>
  readonly deps?: Partial<GatewayDeps>
}

export const testConfig = (
  limits: Partial<GatewayConfig['limits']> = {},
  publicUrl = 'http://127.0.0.1:1',
): GatewayConfig =>
  Value.Parse(
    GatewayConfig,
    Value.Default(GatewayConfig, {
      listen: { host: '127.0.0.1', port: 0 },
      publicUrl,
      region,
      schedulerUrls: ['http://127.0.0.1:1'],
      internalToken: 'x'.repeat(32),
      nodeToken: 'y'.repeat(32),
      nats: { servers: ['nats://127.0.0.1:1'], user: 'u', password: 'p', replicas: 1 },
      accounts: [account, otherAccount],
      signing: [testSeed],
      sealing: { access: [testKey], environment: [testKey] },
      stagingDir: '/nowhere',
      limits,
    }),
  )

/** What an installation has that nodes may join. */
export const testJoining = {
  calls: { listen: { host: '127.0.0.1', port: 0 }, url: 'http://127.0.0.1:7002', token: 'c'.repeat(32) },
  joining: {
    installation: 'yard',
    urls: ['http://127.0.0.1:7002'],
    schedulerNodeToken: 's'.repeat(32),
    issuerSeed: '1'.repeat(64),
    nats: { servers: ['nats://127.0.0.1:1'], replicas: 1 },
    controlAddresses: ['127.0.0.1'],
    agent: { region, logLevel: 'warn' },
  },
} satisfies Pick<GatewayConfig, 'calls' | 'joining'>

export const startGateway = async ({
  limits = {},
  deps: given = {},
}: TestGatewayOptions = {}): Promise<TestGateway> => {
  const node = await startFakeNode()
  const logger = pino({ level: 'silent' })
  const config = testConfig(limits)
  const connection = { status: () => (async function* () {})() }
  const registry = new Registry({
    kv: memoryKv(),
    connection: connection as never,
    logger,
    region,
    sealer: createSealer(config.sealing.environment),
    signer: testSigner,
    adoptUnsigned: false,
    resyncMs: 3_600_000,
  })
  registry.start()
  const access = new AccessDirectory({
    kv: memoryKv(),
    connection: connection as never,
    logger,
    resyncMs: 3_600_000,
    sealer: createSealer(config.sealing.access),
    signer: testSigner,
    accounts: config.accounts,
  })
  access.start()
  const joinedKv = memoryKv()
  const placements: PlacementRequest[] = []
  const toldNodes: string[][] = []
  const over: string[] = []
  const pushed: TestGateway['pushed'] = []
  const nodeSummary = {
    nodeId: 'n-1',
    url: node.url,
    accepting: true,
    capacity: { memoryMiB: 1024, instances: 8, cpus: 2 },
  }
  const nodeExplanation: NodeExplanation = {
    nodeId: 'n-1',
    mode: 'adaptive',
    budgetMiB: 256,
    heldMiB: 15,
    next: { startType: 'restore', reason: 'a created sandbox waits' },
    levels: [{ level: 'created', held: 1, wanted: 1, reason: 'test' }],
    input: {},
  }
  const scheduler: SchedulerClient = {
    place: async (request) => {
      placements.push(request)
      return { invocationId: request.invocationId, nodeId: 'n-1', nodeUrl: node.url, decision: 'start', reason: 'test' }
    },
    over: (id) => void over.push(id),
    isThere: async () => true,
    explain: async () => ({ decision: 'start', nodeId: 'n-1', reason: 'test', candidates: [], held: [] }),
    provisioned: async (revisions) => revisions.map(() => ({ available: 0, allocated: 0 })),
    follow: () => undefined,
    nodes: async () => [nodeSummary],
    tellNode: async (nodeId, action, reason) => void toldNodes.push([nodeId, action, reason]),
    close: async () => undefined,
  }
  const joined = followJoinedNodes({ kv: joinedKv, connection: connection as never, logger, verifier: testSigner })
  joined.start()
  const joining = createJoining({
    config: { ...config, ...testJoining },
    kv: joinedKv,
    signer: testSigner,
    joined,
    scheduler,
    logger,
  })
  const zips = new Map<string, Buffer>()
  const nodes = createNodeClient({ trustOf: () => ({ token: config.nodeToken, ca: undefined }) })
  const tickets = createTickets(config.signing)
  const metricsRegistry = new MetricsRegistry()
  const closing = new AbortController()
  const deps: GatewayDeps = {
    config,
    logger,
    metricsRegistry,
    metrics: createGatewayMetrics(metricsRegistry),
    registry,
    access,
    networkPolicies: createNetworkPolicies({ kv: memoryKv(), signer: testSigner, adoptUnsigned: false }),
    bindings: createBindingStore({
      kv: memoryKv(),
      signer: testSigner,
      adoptUnsigned: false,
      sealer: createSealer(config.sealing.environment),
    }),
    nodes: { explain: async () => nodeExplanation },
    code: {
      putZip: async (digest, zip) => void zips.set(digest, zip),
      putImage: async () => undefined,
      openZip: async (digest) => Readable.from([zips.get(digest) ?? Buffer.alloc(0)]),
      readZip: async (digest) => zips.get(digest) ?? Buffer.alloc(0),
    },
    images: {
      removeLeftovers: async () => undefined,
      build: async (zip, runtime, handler, use) => {
        checkHandler(runtime, handler, await readArchive(zip, config.limits))
        return use({ file: '', digest: 'a'.repeat(64) })
      },
    },
    invoker: createInvoker({ scheduler, nodes, registry, region, startBudgetMs: config.limits.startBudgetMs, tickets }),
    scheduler,
    joining,
    queue: {
      push: async (event, payload) => void pushed.push({ event, payload: Buffer.from(payload) }),
      bury: async () => undefined,
      consumer: async () => Promise.reject(new Error('no queue')),
      measure: async () => undefined,
    },
    deadLetters: { list: async () => [], redrive: async () => [] },
    logs: { read: async function* () {} },
    audit: { read: async function* () {} },
    bodies: new BodyBudget(config.limits.bufferedBytes),
    notReady: () => (closing.signal.aborted ? 'draining' : undefined),
    closing: closing.signal,
    ...given,
  }
  const app = buildApp(deps)
  const problems = watchConformance(app)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  // Presigned links and function URLs name the port that the system gave.
  Object.assign(config, { publicUrl: url })
  return {
    url,
    port,
    node,
    deps,
    app,
    problems,
    placements,
    toldNodes,
    over,
    pushed,
    closing,
    client: (as = account) => new LambdaClient({ endpoint: url, region, credentials: { ...as }, maxAttempts: 1 }),
    close: async () => {
      closing.abort()
      app.server.closeAllConnections()
      await app.close()
      registry.close()
      access.close()
      joined.close()
      await nodes.close()
      await node.close()
    },
  }
}

/** Files by name. */
export const zipOf = (files: Readonly<Record<string, string>>): Promise<Buffer> => {
  const zip = new ZipFile()
  for (const [name, text] of Object.entries(files)) zip.addBuffer(Buffer.from(text), name, { mtime: new Date(0) })
  zip.end()
  return buffer(zip.outputStream)
}

export const roleArn = 'arn:aws:iam::000000000000:role/test'
