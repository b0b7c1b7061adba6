import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import type { RuntimeName } from '../../services/contracts/function.ts'
import type { NodeLabels } from '../../services/contracts/node.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../../services/node-agent/config.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import type { StackConfig } from '../config.ts'
import { cgroupParent } from '../host-scripts/leftovers.ts'
import type { Site } from '../site.ts'
import type { CheckpointImage } from './checkpoint-image.ts'
import type { Credentials } from './credentials.ts'
import type { NatsAccess } from './nats-server.ts'
import { runNodeService } from './node-service.ts'
import type { ImageFile } from './runtime-image.ts'

export interface NodeRuntime {
  /** On the agent's host. */
  readonly image: ImageFile
  readonly checkpoint: CheckpointImage | undefined
}

export interface NodeAgentArgs {
  readonly credentials: Credentials
  readonly nats: NatsAccess
  readonly runtimes: Readonly<Partial<Record<RuntimeName, NodeRuntime>>>
  /** Path on the host. */
  readonly addon: pulumi.Output<string>
  readonly nodeId: string
  readonly capacity: pulumi.Input<NodeAgentConfig['capacity']>
  /** Of the nodes that are alike. Absent: `default`. */
  readonly pool?: string | undefined
  readonly labels?: NodeLabels | undefined
}

/** The node of this host: its gateway, its scheduler, its sandboxes. */
export class NodeAgent extends pulumi.ComponentResource {
  readonly nodeId: string

  constructor(site: Site, args: NodeAgentArgs, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:NodeAgent', site.name('node-agent'), {}, options)
    const { nodeAgentPort: port } = site.config
    this.nodeId = args.nodeId
    const config = nodeAgentConfig(site, args)
    const service = {
      config,
      port,
      graceMs: 35_000,
      privileges: 'root',
      ownedPaths: [agentDir(site)],
      internal: true,
    } as const
    const dependsOn = [options.dependsOn ?? []].flat() as pulumi.Resource[]
    runNodeService('node-agent', site, service, this, [...args.nats.dependencies, ...dependsOn])
    this.registerOutputs({ nodeId: this.nodeId })
  }
}

const agentDir = (site: Site): string => join(site.config.stateDir, 'node-agent')

/** These stay at the defaults of `services/node-agent/config.ts`. */
type DefaultedKey =
  | 'pool'
  | 'labels'
  | 'limits'
  | 'network'
  | 'forksPerSeed'
  | 'renewSeedAfterForks'
  | 'seedIdleMs'
  | 'versionCheckpointUnusedMs'

/** What the installation says of every node; what is of its host is beside it. Pure: nodes that join get the same text. */
export const installationAgentConfig = (config: StackConfig) => ({
  region: config.region,
  pools: config.pools,
  startParallelism: config.startParallelism,
  network: {
    never: config.networkNever,
    platformPorts: [
      config.schedulerPort,
      config.callPort,
      ...(config.target === 'local' ? [] : [config.natsClusterPort, config.peerPort]),
    ],
    ...(config.networkResolvers === undefined ? {} : { resolvers: config.networkResolvers }),
  },
  cache: {
    mode: config.cache,
    ...(config.cacheMemoryMiB === undefined ? {} : { memoryMiB: config.cacheMemoryMiB }),
    forks: config.forks,
  },
  ...given(config, ['precreatedSandboxes', 'parkedRestores', 'seeds', 'parkedForks']),
  versionCheckpoints: config.checkpoints && config.versionCheckpoints,
  versionCheckpointsMiB: config.versionCheckpointsMiB,
  codeImagesMiB: config.codeImagesMiB,
  prefetch: config.prefetch,
  logLevel: config.logLevel,
})

export const nodeAgentConfig = (
  site: Site,
  { credentials, nats, runtimes, addon: addonPath, nodeId, capacity, pool, labels }: NodeAgentArgs,
): pulumi.Output<Omit<NodeAgentConfig, DefaultedKey> & { network: Partial<NodeAgentConfig['network']> }> => {
  const { config } = site
  return pulumi
    .output({
      internalToken: credentials.hops['gateway-node'],
      schedulerToken: credentials.hops['scheduler-node'],
      callToken: credentials.hops['node-gateway'],
      peerToken: credentials.hops['node-node'],
      natsConfig: nats.configFor('node-agent'),
      sealing: credentials.sealing,
      verifying: credentials.verifying,
      addonPath,
      capacity,
      tls: site.exposure.tls,
      runsc: site.programs.tool('runsc'),
      runtimes: Object.fromEntries(Object.entries(runtimes).map(([name, files]) => [name, runtimeFiles(name, files)])),
    })
    .apply((known) => ({
      nodeId,
      listen: { host: site.exposure.address, port: config.nodeAgentPort },
      internalToken: known.internalToken,
      schedulerToken: known.schedulerToken,
      callToken: known.callToken,
      // One node has no others.
      ...(config.target === 'local'
        ? {}
        : { peers: { listen: { host: site.exposure.address, port: config.peerPort }, token: known.peerToken } }),
      ...(known.tls ? { tls: known.tls } : {}),
      nats: known.natsConfig,
      environmentKeys: known.sealing.environment,
      verifyingKeys: known.verifying,
      stateDir: agentDir(site),
      runDir: config.runDir,
      runscPath: known.runsc,
      addonPath: known.addonPath,
      cgroupParent: cgroupParent(config.installation),
      runtimes: known.runtimes,
      capacity: known.capacity,
      ...(pool === undefined ? {} : { pool }),
      ...(labels === undefined ? {} : { labels }),
      ...installationAgentConfig(config),
    }))
}

/** Keys without a default, where they have a value. */
const given = <K extends keyof StackConfig>(config: StackConfig, keys: readonly K[]): Partial<Pick<StackConfig, K>> =>
  Object.fromEntries(keys.filter((key) => config[key] !== undefined).map((key) => [key, config[key]])) as Partial<
    Pick<StackConfig, K>
  >

const runtimeFiles = (name: string, { image, checkpoint }: NodeRuntime): pulumi.Output<RuntimeFiles> =>
  pulumi
    .all([image.path, image.digest, checkpoint?.path, checkpoint?.key, checkpoint?.digest])
    .apply(([imagePath, imageDigest, checkpointPath, checkpointKey, checkpointDigest]) => ({
      imagePath,
      imageDigest,
      command: [...runtimeCommands[name as RuntimeName]],
      ...(checkpointPath === undefined || checkpointKey === undefined || checkpointDigest === undefined
        ? {}
        : { checkpointPath, checkpointKey, checkpointDigest }),
    }))
