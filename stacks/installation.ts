/** One installation on one machine, as a list: what it is made of, and what waits for what. */
import type * as pulumi from '@pulumi/pulumi'
import type { RuntimeName } from '../services/contracts/function.ts'
import { CheckpointImage, checkpointsDir } from './components/checkpoint-image.ts'
import { ClientFile } from './components/client-file.ts'
import { Credentials } from './components/credentials.ts'
import { Gateway } from './components/gateway.ts'
import { HostDirectories } from './components/host-directories.ts'
import { natsAccess, NatsServer } from './components/nats-server.ts'
import { NodeAddon } from './components/node-addon.ts'
import { NodeAgent, type NodeRuntime } from './components/node-agent.ts'
import { RuntimeImage } from './components/runtime-image.ts'
import { Scheduler } from './components/scheduler.ts'
import { shareOfMemory } from './config.ts'
import type { Site } from './site.ts'

/** What the builders of images and checkpoints are made from; a change rebuilds. */
export interface BuilderDigests {
  readonly runtime: (name: RuntimeName) => string
  readonly checkpoint: () => string
}

export interface Installation {
  readonly credentials: Credentials
  readonly nodeAgents: readonly NodeAgent[]
  readonly client: ClientFile
  /** Whatever is there when all is there. */
  readonly services: readonly pulumi.Resource[]
  readonly runtimes: Readonly<Partial<Record<RuntimeName, NodeRuntime>>>
}

export const createInstallation = (site: Site, digests: BuilderDigests): Installation => {
  const { installation, natsPort, nodeMemoryMiB, nodeInstances } = site.config
  const directories = new HostDirectories(site)
  const credentials = new Credentials('credentials', site.config)
  const runtimes = Object.fromEntries(
    site.config.runtimes.map((name) => [name, createRuntime(site, name, digests, directories)]),
  )
  const server = new NatsServer(site, credentials, undefined, { dependsOn: directories })
  const nats = natsAccess(credentials, natsPort, [site.exposure], [server])
  const scheduler = new Scheduler(site, credentials, nats)
  const capacity = { memoryMiB: nodeMemoryMiB ?? shareOfMemory(0), instances: nodeInstances }
  const { path: addon } = new NodeAddon(site)
  const agent = { credentials, nats, runtimes, addon, nodeId: `${installation}-1`, capacity }
  const nodeAgent = new NodeAgent(site, agent)
  const gateway = new Gateway(site, { credentials, nats, schedulerUrls: [scheduler.url] }, { dependsOn: scheduler })
  const client = new ClientFile(site, credentials, { dependsOn: [gateway, nodeAgent] })
  const services = [server, scheduler, nodeAgent, gateway, client]
  return { credentials, nodeAgents: [nodeAgent], client, services, runtimes }
}

const createRuntime = (
  site: Site,
  runtime: RuntimeName,
  digests: BuilderDigests,
  directories: HostDirectories,
): NodeRuntime => {
  const { checkpoints, stateDir } = site.config
  const image = new RuntimeImage(site, runtime, digests.runtime(runtime))
  const args = { runtime, image, inputsDigest: digests.checkpoint(), outDir: checkpointsDir(stateDir) }
  return { image, checkpoint: checkpoints ? new CheckpointImage(site, args, { dependsOn: directories }) : undefined }
}
