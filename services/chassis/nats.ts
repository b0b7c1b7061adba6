/** NATS connection of a service, and the streams and buckets that all of them expect. */
import {
  jetstream,
  JetStreamApiError,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type JetStreamClient,
} from '@nats-io/jetstream'
import { Kvm, type KV } from '@nats-io/kv'
import { Objm, type ObjectStore } from '@nats-io/obj'
import { connect, type NatsConnection, type TlsOptions } from '@nats-io/transport-node'
import { Type, type Static } from 'typebox'
import { setTimeout as delay } from 'node:timers/promises'
import { inboxPrefix } from '../contracts/nats-permissions.ts'
import { buckets, streams } from '../contracts/subjects.ts'
import type { Logger } from './log.ts'

export const NatsConfig = Type.Object(
  {
    servers: Type.Array(Type.String(), { minItems: 1 }),
    user: Type.String(),
    password: Type.String(),
    /** Copies of each stream: 1 on one server, 3 on a cluster. */
    replicas: Type.Integer({ minimum: 1, maximum: 5, default: 1 }),
    /** The servers' issuer (PEM), and the name in their certificates. Absent: no TLS. */
    tls: Type.Optional(Type.Object({ ca: Type.String(), name: Type.String() }, { additionalProperties: false })),
  },
  { additionalProperties: false },
)
export type NatsConfig = Static<typeof NatsConfig>

export interface Store {
  readonly connection: NatsConnection
  readonly js: JetStreamClient
  readonly functions: KV
  /** Network policies of functions. */
  readonly network: KV
  readonly code: ObjectStore
}

/** Connects, and goes on trying for as long as the process lives: every service survives a restart of NATS. */
export const connectNats = (config: NatsConfig, name: string): Promise<NatsConnection> =>
  connect({
    name,
    servers: config.servers,
    user: config.user,
    pass: config.password,
    inboxPrefix: inboxPrefix(config.user),
    maxReconnectAttempts: -1,
    // A user that joined is known only while a gateway says so, and none may be there for a moment.
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: 250,
    waitOnFirstConnect: true,
    // A way that is open again is found by the next attempt, not by one that has waited ever longer.
    timeout: 5_000,
    pingInterval: 5_000,
    maxPingOut: 2,
    // Else each request takes two stacks for the errors it might end with: half of what it costs.
    noAsyncTraces: true,
    // By name, because addresses are no names to TLS: any server of the installation has it.
    ...(config.tls ? { tls: { ca: config.tls.ca, servername: config.tls.name } as TlsOptions } : {}),
  })

const wrongLastSequence = 10071

/** Somebody else has written since: an entry that was read, or a subject that has its one message. */
export const isConflict = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === wrongLastSequence

const day = 24 * 3600 * 1_000_000_000

/** That of a gateway. */
export interface GatewayStore extends Store {
  /** Those that joined, and tokens to join with. */
  readonly nodes: KV
}

/** Makes sure that buckets and streams exist, and opens them. Idempotent; for gateways, whose user alone may. */
export const makeStore = async (connection: NatsConnection, config: NatsConfig): Promise<GatewayStore> => {
  const manager = await jetstreamManager(connection)
  const js = jetstream(connection)
  const common = { storage: StorageType.File, num_replicas: config.replicas }
  const wanted = [
    // Work queue: an event leaves the stream when its outcome is committed, and not before.
    { name: streams.async, subjects: ['async.>'], retention: RetentionPolicy.Workqueue, ...common },
    { name: streams.dlq, subjects: ['dlq.>'], max_age: 14 * day, ...common },
    { name: streams.usage, subjects: ['usage.>'], ...common },
    { name: streams.logs, subjects: ['logs.>'], max_age: 7 * day, max_bytes: 1024 ** 3, ...common },
    { name: streams.audit, subjects: ['audit.>'], max_age: 30 * day, max_bytes: 4 * 1024 ** 3, ...common },
  ]
  for (const stream of wanted) {
    await manager.streams.add(stream).catch(async () => await manager.streams.update(stream.name, stream))
  }
  const bucket = { history: 1, replicas: config.replicas }
  const functions = await new Kvm(js).create(buckets.functions, bucket)
  const network = await new Kvm(js).create(buckets.network, bucket)
  const nodes = await new Kvm(js).create(buckets.nodes, bucket)
  const code = await new Objm(js).create(buckets.code, { replicas: config.replicas })
  return { connection, js, functions, network, nodes, code }
}

/** @throws when a gateway has not made it yet */
export const openStore = async (connection: NatsConnection): Promise<Store> => {
  const js = jetstream(connection)
  const functions = await new Kvm(js).open(buckets.functions)
  const network = await new Kvm(js).open(buckets.network)
  const code = await new Objm(js).open(buckets.code)
  return { connection, js, functions, network, code }
}

const retryMs = 500
/** What goes on for long is said again each half minute, not at each attempt. */
const triesPerWarning = 60

/** Buckets and streams, once NATS answers and they are there: a service may be started before or while its store is. */
export const whenReady = async <T>(connection: NatsConnection, logger: Logger, open: () => Promise<T>): Promise<T> => {
  for (let tries = 0; ; tries++) {
    try {
      return await open()
    } catch (err) {
      if (connection.isClosed()) throw err
      if (tries % triesPerWarning === 0) logger.warn({ err }, 'the store cannot be opened yet')
      await delay(retryMs)
    }
  }
}
