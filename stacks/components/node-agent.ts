import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { toolPath } from '../../scripts/setup/paths.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import type { NodeAgentConfig, RuntimeFiles } from '../../services/node-agent/config.ts'
import { addonDigest } from '../../services/node-agent/native/build.ts'
import { runtimeCommands } from '../../services/node-agent/runtime-files.ts'
import type { StackConfig } from '../config.ts'
import { resultOf } from '../host.ts'
import { cgroupParent } from '../host-scripts/leftovers.ts'
import type { Site } from '../site.ts'
import type { CheckpointImage } from './checkpoint-image.ts'
import type { Credentials } from './credentials.ts'
import type { NatsServer } from './nats-server.ts'
import { runNodeService } from './node-service.ts'
import type { RuntimeImage } from './runtime-image.ts'

export interface NodeRuntime {
  readonly image: RuntimeImage
  readonly checkpoint: CheckpointImage | undefined
}

export interface NodeAgentArgs {
  readonly credentials: Credentials
  readonly nats: NatsServer
  readonly runtimes: Readonly<Partial<Record<RuntimeName, NodeRuntime>>>
}

/** The node of this host: its gateway, its scheduler, its sandboxes. */
export class NodeAgent extends pulumi.ComponentResource {
  readonly nodeId: string

  constructor(site: Site, args: NodeAgentArgs, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:NodeAgent', 'node-agent', {}, options)
    const { nodeAgentPort: port, installation } = site.config
    this.nodeId = `${installation}-1`
    const config = nodeAgentConfig(site, this.nodeId, args, buildAddon(site, this))
    const service = { config, port, graceMs: 35_000, privileges: 'root', ownedPaths: [agentDir(site)] } as const
    runNodeService('node-agent', site, service, this, [args.nats])
    this.registerOutputs({ nodeId: this.nodeId })
  }
}

const agentDir = (site: Site): string => join(site.config.stateDir, 'node-agent')

const buildAddon = (site: Site, parent: pulumi.Resource): pulumi.Output<string> => {
  const build = site.host.run(
    'node-agent-addon',
    {
      script: join(site.repoRoot, 'services', 'node-agent', 'native', 'build.ts'),
      create: ['--out', join(site.config.cacheDir, 'native')],
      triggers: [addonDigest()],
    },
    { parent },
  )
  return resultOf<{ addonPath: string }>(build).addonPath
}

/** These stay at the defaults of `services/node-agent/config.ts`. */
type DefaultedKey = 'limits' | 'forksPerSeed' | 'renewSeedAfterForks' | 'seedIdleMs' | 'versionCheckpointUnusedMs'

const nodeAgentConfig = (
  site: Site,
  nodeId: string,
  { credentials, nats, runtimes }: NodeAgentArgs,
  addonPath: pulumi.Output<string>,
): pulumi.Output<Omit<NodeAgentConfig, DefaultedKey>> => {
  const { config } = site
  return pulumi
    .output({
      internalToken: credentials.internalToken,
      natsConfig: nats.configFor('node-agent'),
      addonPath,
      runtimes: Object.fromEntries(Object.entries(runtimes).map(([name, files]) => [name, runtimeFiles(name, files)])),
    })
    .apply((known) => ({
      nodeId,
      listen: { host: '127.0.0.1', port: config.nodeAgentPort },
      internalToken: known.internalToken,
      nats: known.natsConfig,
      region: config.region,
      stateDir: agentDir(site),
      runDir: config.runDir,
      runscPath: toolPath('runsc', config.cacheDir),
      addonPath: known.addonPath,
      cgroupParent: cgroupParent(config.installation),
      runtimes: known.runtimes,
      capacity: { memoryMiB: config.nodeMemoryMiB, instances: config.nodeInstances },
      startParallelism: config.startParallelism,
      cache: {
        mode: config.cache,
        ...(config.cacheMemoryMiB === undefined ? {} : { memoryMiB: config.cacheMemoryMiB }),
        forks: config.forks,
      },
      ...given(config, ['precreatedSandboxes', 'parkedRestores', 'seeds', 'parkedForks']),
      versionCheckpoints: config.checkpoints && config.versionCheckpoints,
      versionCheckpointsMiB: config.versionCheckpointsMiB,
      logLevel: config.logLevel,
    }))
}

/** Keys without a default, where they have a value. */
const given = <K extends keyof StackConfig>(config: StackConfig, keys: readonly K[]): Partial<Pick<StackConfig, K>> =>
  Object.fromEntries(keys.filter((key) => config[key] !== undefined).map((key) => [key, config[key]])) as Partial<
    Pick<StackConfig, K>
  >

const runtimeFiles = (name: string, { image, checkpoint }: NodeRuntime): pulumi.Output<RuntimeFiles> =>
  pulumi
    .all([image.path, image.digest, checkpoint?.path, checkpoint?.key])
    .apply(([imagePath, imageDigest, checkpointPath, checkpointKey]) => ({
      imagePath,
      imageDigest,
      command: [...runtimeCommands[name as RuntimeName]],
      ...(checkpointPath === undefined || checkpointKey === undefined ? {} : { checkpointPath, checkpointKey }),
    }))
