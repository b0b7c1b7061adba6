/**
 * What the registry (NATS KV bucket `functions`) holds about a function.
 *
 * Key `<tenant>.<name>`: one `FunctionRecord`, changed by compare-and-set, so that a deploy is either wholly old or wholly new.
 * Key `<tenant>.<name>.<n>`: the `VersionConfig` of published version n, written before the record names n, then immutable.
 */
import { createHash } from 'node:crypto'
import { Type, type Static } from 'typebox'
import { ResourcePolicy } from './access.ts'

export const runtimeNames = ['nodejs24.x', 'provided.al2023', 'python3.11'] as const
export type RuntimeName = (typeof runtimeNames)[number]

export const latest = '$LATEST'

/** Names of pools of nodes. */
export const poolPattern = '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'

export const cachePolicies = ['adaptive', 'strict-cold'] as const

/**
 * How instances of a function are used, and what may be held for it. Set through tags: `forkyard:concurrency`, `forkyard:reuse`,
 * `forkyard:keep-alive-ms`, `forkyard:cache`, `forkyard:fork`, `forkyard:pool`.
 */
export const InstancePolicy = Type.Object(
  {
    /** Requests that one instance handles at the same time. */
    concurrency: Type.Integer({ minimum: 1, maximum: 1000, default: 1 }),
    /** false: every instance handles one request (or one batch of `concurrency`) and ends. */
    reuse: Type.Boolean({ default: true }),
    /** How long an idle instance lives, in milliseconds. 0 ends it at once. Absent: the node's cache decides. */
    keepAliveMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000 })),
    /** `strict-cold`: nothing that costs CPU or memory is held for the function. Absent: `adaptive`. */
    cache: Type.Optional(Type.Enum(cachePolicies)),
    /** Instances may be forks, which share the sandbox of their seed. Absent: as the node is configured. */
    fork: Type.Optional(Type.Boolean()),
    /** Nodes that instances run on, by the name of their pool. Absent: the pool that the installation's rules say. */
    pool: Type.Optional(Type.String({ pattern: poolPattern })),
  },
  { additionalProperties: false },
)
export type InstancePolicy = Static<typeof InstancePolicy>

/** Of an idle instance for which no node has decided yet, in milliseconds. */
const undecidedKeepAliveMs = 60_000

/** @param decidedMs what the instance's node says, which knows more than the policy */
export const keepAliveOf = ({ cache, keepAliveMs }: InstancePolicy, decidedMs?: number): number =>
  decidedMs ?? (cache === 'strict-cold' ? 0 : (keepAliveMs ?? undecidedKeepAliveMs))

export const VersionConfig = Type.Object(
  {
    tenant: Type.String(),
    name: Type.String(),
    /** `$LATEST` or a decimal number. */
    version: Type.String(),
    /** New with every change of code or configuration; instances belong to one revision and never serve another. */
    revisionId: Type.String(),
    runtime: Type.Enum(runtimeNames),
    handler: Type.String(),
    description: Type.String(),
    role: Type.String(),
    memoryMiB: Type.Integer({ minimum: 128, maximum: 10_240 }),
    timeoutMs: Type.Integer({ minimum: 1000, maximum: 900_000 }),
    /** Size of `/tmp` in MiB. */
    ephemeralStorageMiB: Type.Integer({ minimum: 512, maximum: 10_240 }),
    environment: Type.Record(Type.String(), Type.String()),
    /** In the registry alone, in place of `environment` (`chassis/sealed-config.ts`). */
    sealedEnvironment: Type.Optional(Type.String()),
    /** In the store alone: by the installation's own key (`chassis/signing.ts`). */
    signature: Type.Optional(Type.String()),
    /** Variables that must not be in a checkpoint, besides those whose names say so (tag `forkyard:secrets`). */
    secretNames: Type.Optional(Type.Array(Type.String())),
    policy: InstancePolicy,
    /** SHA-256 of the zip, base64, as Lambda's CodeSha256. */
    codeSha256: Type.String(),
    /** Bytes of the zip. */
    codeSize: Type.Integer(),
    /** Object `zip/<hex>` in the object store bucket `code`. */
    zipDigest: Type.String(),
    /** Lower-case hex SHA-256 of the EROFS image; object `image/<hex>` in the object store bucket `code`. */
    imageDigest: Type.String(),
    /** ISO 8601. */
    lastModified: Type.String(),
  },
  { additionalProperties: false },
)
export type VersionConfig = Static<typeof VersionConfig>

export const AliasRecord = Type.Object(
  {
    name: Type.String(),
    functionVersion: Type.String(),
    description: Type.String(),
    revisionId: Type.String(),
    /** Share of requests (0..1) that go to other versions. */
    weights: Type.Record(Type.String(), Type.Number()),
  },
  { additionalProperties: false },
)
export type AliasRecord = Static<typeof AliasRecord>

export const UrlRecord = Type.Object(
  {
    /** Host label of the function URL; unguessable, unique. */
    urlId: Type.String(),
    authType: Type.Union([Type.Literal('NONE'), Type.Literal('AWS_IAM')]),
    invokeMode: Type.Union([Type.Literal('BUFFERED'), Type.Literal('RESPONSE_STREAM')]),
    cors: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    creationTime: Type.String(),
    lastModified: Type.String(),
  },
  { additionalProperties: false },
)
export type UrlRecord = Static<typeof UrlRecord>

/** Asynchronous invocation of one qualifier, as it was configured. */
export const EventInvokeRecord = Type.Object(
  {
    maximumRetryAttempts: Type.Integer({ minimum: 0, maximum: 2 }),
    maximumEventAgeMs: Type.Integer({ minimum: 60_000, maximum: 21_600_000 }),
    /** ISO 8601. */
    lastModified: Type.String(),
  },
  { additionalProperties: false },
)
export type EventInvokeRecord = Static<typeof EventInvokeRecord>

export const ReservedConcurrency = Type.Integer({ minimum: 0 })

/** Provisioned concurrency of one qualifier. */
export const ProvisionedRecord = Type.Object(
  {
    /** Invocations at the same time. */
    concurrency: Type.Integer({ minimum: 1 }),
    /** ISO 8601. */
    lastModified: Type.String(),
  },
  { additionalProperties: false },
)
export type ProvisionedRecord = Static<typeof ProvisionedRecord>

export const FunctionRecord = Type.Object(
  {
    tenant: Type.String(),
    name: Type.String(),
    latest: VersionConfig,
    /** Published version numbers, ascending. Numbers are never used again, also after a delete. */
    versions: Type.Array(Type.Integer()),
    nextVersion: Type.Integer({ minimum: 1 }),
    aliases: Type.Record(Type.String(), AliasRecord),
    /** By qualifier: `$LATEST` or an alias name. */
    urls: Type.Record(Type.String(), UrlRecord),
    tags: Type.Record(Type.String(), Type.String()),
    /** Asynchronous invocation: attempts after the first, and how long an event may wait, in milliseconds. */
    eventInvoke: Type.Object({
      maximumRetryAttempts: Type.Integer({ minimum: 0, maximum: 2 }),
      maximumEventAgeMs: Type.Integer({ minimum: 60_000, maximum: 21_600_000 }),
    }),
    /** By qualifier (`$LATEST`, version or alias): what was configured for it; the others have `eventInvoke`. */
    eventInvokeConfigs: Type.Optional(Type.Record(Type.String(), EventInvokeRecord)),
    /** By qualifier (`$LATEST` stands for the function without one): who else may call. */
    policies: Type.Optional(Type.Record(Type.String(), ResourcePolicy)),
    /**
     * Invocations of all versions together that may run at the same time, and for which capacity is kept; 0: none. Absent: as many as the
     * nodes have room for.
     */
    reservedConcurrency: Type.Optional(ReservedConcurrency),
    /** By qualifier (version or alias): instances that are kept initialised. */
    provisioned: Type.Optional(Type.Record(Type.String(), ProvisionedRecord)),
    /** In the store alone: by the installation's own key (`chassis/signing.ts`). */
    signature: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type FunctionRecord = Static<typeof FunctionRecord>

const accountIds = new Map([['default', '000000000000']])

/**
 * Account number in ARNs: twelve digits that stand for a tenant. `default` has zeros, a tenant whose name is twelve digits has its
 * name, the others have a digest of it; two tenants with one number are refused when the second is made.
 */
export const accountIdOf = (tenant: string): string => {
  const known = accountIds.get(tenant)
  if (known !== undefined) return known
  const digest = createHash('sha256').update(tenant).digest('hex').slice(0, 16)
  const id = /^\d{12}$/.test(tenant) ? tenant : String(BigInt(`0x${digest}`) % 10n ** 12n).padStart(12, '0')
  accountIds.set(tenant, id)
  return id
}

export const functionArn = (region: string, tenant: string, name: string, qualifier?: string): string =>
  `arn:aws:lambda:${region}:${accountIdOf(tenant)}:function:${name}${qualifier ? `:${qualifier}` : ''}`
