import { Type, type Static } from 'typebox'
import { ServiceTls } from '../chassis/internal-tls.ts'
import { NatsConfig } from '../chassis/nats.ts'
import { SealingKeys } from '../chassis/sealing.ts'
import { VerifyingKeys } from '../chassis/signing.ts'
import { runtimeNames } from '../contracts/function.ts'
import { NodeLabels, NodePool } from '../contracts/node.ts'
import { ResourcePool } from '../contracts/resource-pool.ts'
import { cacheModes } from './node-scheduler/cache/input.ts'

export const RuntimeFiles = Type.Object(
  {
    /** EROFS image of the runtime's root file system. */
    imagePath: Type.String(),
    imageDigest: Type.String(),
    /** Directory of the bare runtime's checkpoint; absent: every start is a boot. */
    checkpointPath: Type.Optional(Type.String()),
    /** Must be that of the checkpoint's manifest: another runtime's, image's or release's checkpoint is refused. */
    checkpointKey: Type.Optional(Type.String()),
    /** SHA-256 of the checkpoint's manifest, from whoever made it. Without it the checkpoint is refused. */
    checkpointDigest: Type.Optional(Type.String()),
    /** Command of the sandbox's first process. */
    command: Type.Array(Type.String(), { minItems: 1 }),
  },
  { additionalProperties: false },
)
export type RuntimeFiles = Static<typeof RuntimeFiles>

export const NodeAgentConfig = Type.Object(
  {
    nodeId: Type.String({ pattern: '^[A-Za-z0-9-_]{1,64}$' }),
    listen: Type.Object({ host: Type.String(), port: Type.Integer({ minimum: 0, maximum: 65_535 }) }),
    /** Bearer token of gateways. */
    internalToken: Type.String({ minLength: 32 }),
    /** Bearer token of schedulers, which alone start and end instances. */
    schedulerToken: Type.String({ minLength: 32 }),
    /** Bearer token for gateways, to whom calls of functions are brought. Absent: there are no calls. */
    callToken: Type.Optional(Type.String({ minLength: 32 })),
    /** Where other nodes copy code images, and their bearer token. Absent: all images come from the store. */
    peers: Type.Optional(
      Type.Object(
        {
          listen: Type.Object({ host: Type.String(), port: Type.Integer({ minimum: 0, maximum: 65_535 }) }),
          token: Type.String({ minLength: 32 }),
        },
        { additionalProperties: false },
      ),
    ),
    /** Absent: plain connections, for an installation on one machine. */
    tls: Type.Optional(ServiceTls),
    /** Of a node that joined by a token. */
    joined: Type.Optional(
      Type.Object(
        {
          /** Of gateways, which it asks what the installation says of it. */
          urls: Type.Array(Type.String({ pattern: '^https?://' }), { minItems: 1 }),
          /** IP addresses of gateways and schedulers: nobody else reaches its port. For who starts the agent (`stacks/join`). */
          controlAddresses: Type.Array(Type.String()),
          /** Issuer of the gateways' certificates (PEM). Absent: plain connections. */
          authority: Type.Optional(Type.String()),
        },
        { additionalProperties: false },
      ),
    ),
    nats: NatsConfig,
    /** Open the variables of functions, which are sealed in the registry. */
    environmentKeys: SealingKeys,
    /** Whose signature entries of the registry must have. */
    verifyingKeys: VerifyingKeys,
    region: Type.String({ default: 'us-east-1' }),
    /** Owns every path that the agent makes; what is in it and belongs to nobody is removed. */
    stateDir: Type.String(),
    /** Short (socket paths end at 107 bytes), on a tmpfs. */
    runDir: Type.String({ maxLength: 50 }),
    runscPath: Type.String(),
    /** Made by `native/build.ts`. */
    addonPath: Type.String(),
    /** Control group that holds all groups of this agent; unique on the machine. */
    cgroupParent: Type.String({ pattern: '^[A-Za-z0-9-_.]{1,64}$' }),
    runtimes: Type.Partial(Type.Record(Type.Enum(runtimeNames), RuntimeFiles)),
    capacity: Type.Object(
      {
        /** Sum of the memory sizes of all instances. */
        memoryMiB: Type.Integer({ minimum: 128 }),
        instances: Type.Integer({ minimum: 1, default: 256 }),
      },
      { additionalProperties: false },
    ),
    /** Told in the reports, with the labels. */
    pool: NodePool,
    labels: NodeLabels,
    /** Rules of all pools, as schedulers have them: which functions run here. */
    pools: Type.Array(ResourcePool, { default: [] }),
    /** Starts that run at the same time. */
    startParallelism: Type.Integer({ minimum: 1, default: 2 }),
    /** Slots of the network of functions that have a policy. */
    network: Type.Object(
      {
        /** That wait for use, once a function has a policy. */
        ahead: Type.Integer({ minimum: 0, maximum: 256, default: 8 }),
        /** Name servers that questions of functions go on to, `192.0.2.1` or `[2001:db8::1]:5353`. Absent: this host's. */
        resolvers: Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: 8 })),
        /** Prefixes that no policy opens, besides those that are never open. */
        never: Type.Array(Type.String(), { maxItems: 256, default: [] }),
        /** Of other services of the installation: no policy opens them on its hosts, nor this agent's and those of NATS. */
        platformPorts: Type.Array(Type.Integer({ minimum: 1, maximum: 65_535 }), { maxItems: 4, default: [] }),
        /** In all; never more than `capacity.instances`. */
        max: Type.Integer({ minimum: 1, maximum: 4000, default: 1024 }),
      },
      { additionalProperties: false, default: {} },
    ),
    /** What is held for starts to come, decided by `node-scheduler/cache` from each function's history. */
    cache: Type.Object(
      {
        mode: Type.Enum(cacheModes, { default: 'adaptive' }),
        /** Idle instances (as much as they use) and all that is made ahead. Absent: a quarter of `capacity.memoryMiB`. */
        memoryMiB: Type.Optional(Type.Integer({ minimum: 0 })),
        /** Functions that say nothing about it may be forked. `seeds` above 0 says the same. */
        forks: Type.Boolean({ default: false }),
      },
      { additionalProperties: false, default: {} },
    ),
    // Numbers in place of decisions: a level that has one does not follow history.
    /** Sandboxes created ahead per runtime, each without function or code. */
    precreatedSandboxes: Type.Optional(Type.Integer({ minimum: 0 })),
    /** Bare runtimes restored ahead per runtime, each waiting at its socket for its first function. */
    parkedRestores: Type.Optional(Type.Integer({ minimum: 0 })),
    /**
     * Seeds that are kept on this node for functions that were called lately, so that their next instances are forks. 0: only
     * invocations that ask for a fork make one.
     */
    seeds: Type.Optional(Type.Integer({ minimum: 0 })),
    /** Forks that wait at their sockets, per seed. */
    parkedForks: Type.Optional(Type.Integer({ minimum: 0, maximum: 32 })),
    /** Forks of one seed at the same time, parked ones included: they share a sandbox, and its end is theirs. */
    forksPerSeed: Type.Integer({ minimum: 1, maximum: 64, default: 32 }),
    /** A seed is made anew after so many forks. */
    renewSeedAfterForks: Type.Integer({ minimum: 1, default: 2000 }),
    /** A seed that somebody asked for, or that `seeds` keeps, ends when it was not used for so long and none of its forks serves. */
    seedIdleMs: Type.Integer({ minimum: 100, default: 60_000 }),
    /** After its first start on this node a version is saved once it is initialised, and started from that. */
    versionCheckpoints: Type.Boolean({ default: true }),
    /** Disk that the checkpoints of versions may take together. */
    versionCheckpointsMiB: Type.Integer({ minimum: 0, default: 4096 }),
    /** One from which nothing was started for so long is removed. */
    versionCheckpointUnusedMs: Type.Integer({ minimum: 1000, default: 7 * 24 * 3600 * 1000 }),
    /** Disk for code images. Those that were not used for ten minutes go when there is more; what a request needs is fetched all the same. */
    codeImagesMiB: Type.Integer({ minimum: 0, default: 4096 }),
    /** Code images are fetched when a function of this node's pool is deployed, as far as that disk goes. */
    prefetch: Type.Boolean({ default: true }),
    limits: Type.Object(
      {
        /** Answer of a buffered invocation. */
        responseBytes: Type.Integer({ minimum: 1, default: 6 * 1024 * 1024 }),
        /** Answer of a streamed invocation. */
        streamedResponseBytes: Type.Integer({ minimum: 1, default: 200 * 1024 * 1024 }),
        /** Requests in the node's buffer, all functions together. */
        bufferedRequests: Type.Integer({ minimum: 1, default: 1000 }),
        bufferedBytes: Type.Integer({ minimum: 1, default: 256 * 1024 * 1024 }),
        /** Function initialisation: from the assignment to the first pull. */
        initMs: Type.Integer({ minimum: 100, default: 10_000 }),
        logLineBytes: Type.Integer({ minimum: 64, default: 64 * 1024 }),
        /** Log bytes of one instance per second; what is over is dropped and counted. */
        logBytesPerSecond: Type.Integer({ minimum: 1024, default: 1024 * 1024 }),
        /** Memory for the sandbox's kernel on top of the function's own. */
        sandboxOverheadMiB: Type.Integer({ minimum: 0, default: 96 }),
        /** Processes and threads of a sandbox on the host: about two for each process of the function, which has at most 1024. */
        pids: Type.Integer({ minimum: 16, default: 4096 }),
      },
      { additionalProperties: false, default: {} },
    ),
    logLevel: Type.String({ default: 'info' }),
  },
  { additionalProperties: false },
)
export type NodeAgentConfig = Static<typeof NodeAgentConfig>
