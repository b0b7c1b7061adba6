import { Type, type Static } from 'typebox'
import { ServiceTls } from '../chassis/internal-tls.ts'
import { NatsConfig } from '../chassis/nats.ts'
import { SealingKeys } from '../chassis/sealing.ts'
import { ResourcePool } from '../contracts/resource-pool.ts'
import { SigningKeys } from '../chassis/signing.ts'

/** An access key and the tenant that it acts for. */
export const Account = Type.Object(
  {
    accessKeyId: Type.String({ minLength: 16 }),
    secretAccessKey: Type.String({ minLength: 16 }),
    tenant: Type.String({ pattern: '^[A-Za-z0-9-_]{1,64}$' }),
  },
  { additionalProperties: false },
)
export type Account = Static<typeof Account>

/** Every limit is in bytes or milliseconds; the error that a limit causes names its key. */
export const GatewayLimits = Type.Object(
  {
    /** Payload of a synchronous Invoke. */
    syncPayloadBytes: Type.Integer({ minimum: 1, default: 6 * 1024 * 1024 }),
    /** Payload of an asynchronous Invoke. */
    asyncPayloadBytes: Type.Integer({ minimum: 1, default: 1024 * 1024 }),
    /** Zip in CreateFunction and UpdateFunctionCode, after base64. */
    zipBytes: Type.Integer({ minimum: 1, default: 50 * 1024 * 1024 }),
    /** Sum of the files in a zip. */
    unzippedBytes: Type.Integer({ minimum: 1, default: 250 * 1024 * 1024 }),
    zipEntries: Type.Integer({ minimum: 1, default: 100_000 }),
    /** Request body of a function URL. */
    urlBodyBytes: Type.Integer({ minimum: 1, default: 6 * 1024 * 1024 }),
    /** Any other request body of the API. */
    requestBytes: Type.Integer({ minimum: 1024, default: 1024 * 1024 }),
    /** Request bodies held in memory at the same time, all together; more are answered with 429. */
    bufferedBytes: Type.Integer({ minimum: 1, default: 512 * 1024 * 1024 }),
    /** A request must have arrived in whole after so long. */
    requestMs: Type.Integer({ minimum: 1000, default: 120_000 }),
    /** A client that sends or takes no byte for so long, while it is its turn, is closed. */
    stalledMs: Type.Integer({ minimum: 100, default: 20_000 }),
    /** What a start may take, on top of the function's time-out: the deadline of an invocation is the sum. */
    startBudgetMs: Type.Integer({ minimum: 100, default: 20_000 }),
    /** Difference between a signature's time and the clock. */
    clockSkewMs: Type.Integer({ minimum: 1000, default: 5 * 60_000 }),
    /** Environment variables of a function, all together. */
    environmentBytes: Type.Integer({ minimum: 1, default: 4096 }),
  },
  { additionalProperties: false, default: {} },
)
export type GatewayLimits = Static<typeof GatewayLimits>

export const GatewayConfig = Type.Object(
  {
    listen: Type.Object({ host: Type.String(), port: Type.Integer({ minimum: 0, maximum: 65_535 }) }),
    /** As clients reach it; presigned code locations and function URLs are made from it. */
    publicUrl: Type.String(),
    /** Function URLs are `http://<urlId>.<urlDomain>[:port]/`. */
    urlDomain: Type.String({ default: 'lambda-url.localhost' }),
    region: Type.String({ default: 'us-east-1' }),
    /** Of all schedulers; whichever leads is asked. Several may be behind one of them. */
    schedulerUrls: Type.Array(Type.String(), { minItems: 1 }),
    /** Bearer token for the scheduler. */
    internalToken: Type.String({ minLength: 32 }),
    /** Bearer token for nodes. */
    nodeToken: Type.String({ minLength: 32 }),
    /** Issuer of the certificates of schedulers and nodes (PEM). Absent: plain connections, for an installation on one machine. */
    internalCa: Type.Optional(Type.String()),
    /** Where nodes bring the calls of functions that are bound to other functions. Absent: there are none. */
    calls: Type.Optional(
      Type.Object(
        {
          listen: Type.Object({ host: Type.String(), port: Type.Integer({ minimum: 0, maximum: 65_535 }) }),
          /** As nodes reach it. */
          url: Type.String({ pattern: '^https?://' }),
          /** Bearer token of nodes. */
          token: Type.String({ minLength: 32 }),
          /** Absent: plain connections, for an installation on one machine. */
          tls: Type.Optional(ServiceTls),
        },
        { additionalProperties: false },
      ),
    ),
    /** How machines join as nodes, over the port of `calls`. Absent: none can. */
    joining: Type.Optional(
      Type.Object(
        {
          /** First part of the ids of nodes that join. */
          installation: Type.String({ pattern: '^[a-z][a-z0-9-]*$' }),
          /** Of all gateways, as nodes reach their port for calls. */
          urls: Type.Array(Type.String({ pattern: '^https?://' }), { minItems: 1 }),
          /** Schedulers' bearer token for nodes: a node that joins has one that is derived from it. */
          schedulerNodeToken: Type.String({ minLength: 32 }),
          /** 32 bytes, hex: of the account key with which the servers of NATS are told who joined nodes are. */
          issuerSeed: Type.String({ pattern: '^[0-9a-f]{64}$' }),
          /** As nodes reach NATS. */
          nats: Type.Omit(NatsConfig, ['user', 'password']),
          /** IP addresses of gateways and schedulers, for the firewall of the node. */
          controlAddresses: Type.Array(Type.String()),
          /** Members of `NodeAgentConfig` that are the installation's. */
          agent: Type.Record(Type.String(), Type.Unknown()),
        },
        { additionalProperties: false },
      ),
    ),
    nats: NatsConfig,
    /** The stack's own keys: principal `root`, roles `admin` and `operator`. Others are made at run time. */
    accounts: Type.Array(Account, { minItems: 1 }),
    /** With what the entries of functions, their policies and bindings, principals and keys are signed. */
    signing: SigningKeys,
    /** Entries of functions, their policies and bindings without a signature are taken for good, and signed. */
    adoptUnsigned: Type.Boolean({ default: false }),
    /** What is sealed in the store: secrets of access keys, and variables of functions, which nodes open too. */
    sealing: Type.Object({ access: SealingKeys, environment: SealingKeys }, { additionalProperties: false }),
    /** Scratch space for archives; emptied at start. */
    stagingDir: Type.String(),
    /** Asynchronous events handled at the same time by this gateway. */
    asyncWorkers: Type.Integer({ minimum: 0, default: 16 }),
    /** Wait before the second attempt of a failed event, in milliseconds; twice that before the third. Default 60000, as AWS. */
    asyncRetryBaseMs: Type.Optional(Type.Integer({ minimum: 1 })),
    /** Rules of the pools of nodes, as schedulers have them. */
    pools: Type.Array(ResourcePool, { default: [] }),
    limits: GatewayLimits,
    logLevel: Type.String({ default: 'info' }),
  },
  { additionalProperties: false },
)
export type GatewayConfig = Static<typeof GatewayConfig>
