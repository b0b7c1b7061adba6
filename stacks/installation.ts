/** One installation, as a list: what it is made of, and what waits for what. */
import type { RuntimeName } from '../services/contracts/function.ts'
import { CheckpointImage } from './components/checkpoint-image.ts'
import { ClientFile } from './components/client-file.ts'
import { Credentials } from './components/credentials.ts'
import { Gateway } from './components/gateway.ts'
import { HostDirectories } from './components/host-directories.ts'
import { NatsServer } from './components/nats-server.ts'
import { NodeAgent, type NodeRuntime } from './components/node-agent.ts'
import { RuntimeImage } from './components/runtime-image.ts'
import { Scheduler } from './components/scheduler.ts'
import type { Site } from './site.ts'

/** What the builders of images and checkpoints are made from; a change rebuilds. */
export interface BuilderDigests {
  readonly runtime: (name: RuntimeName) => string
  readonly checkpoint: () => string
}

export interface Installation {
  readonly credentials: Credentials
  readonly gateway: Gateway
  readonly nodeAgent: NodeAgent
  readonly client: ClientFile
  readonly runtimes: Readonly<Partial<Record<RuntimeName, NodeRuntime>>>
}

export const createInstallation = (site: Site, digests: BuilderDigests): Installation => {
  const directories = new HostDirectories(site)
  const credentials = new Credentials('credentials')
  const runtimes = Object.fromEntries(site.config.runtimes.map((name) => [name, createRuntime(site, name, digests)]))
  const nats = new NatsServer(site, credentials, { dependsOn: directories })
  const scheduler = new Scheduler(site, credentials, nats)
  const nodeAgent = new NodeAgent(site, { credentials, nats, runtimes })
  const gateway = new Gateway(site, { credentials, nats, scheduler })
  const client = new ClientFile(site, credentials, { dependsOn: [gateway, nodeAgent] })
  return { credentials, gateway, nodeAgent, client, runtimes }
}

const createRuntime = (site: Site, name: RuntimeName, digests: BuilderDigests): NodeRuntime => {
  const image = new RuntimeImage(site, name, digests.runtime(name))
  const checkpoint = site.config.checkpoints ? new CheckpointImage(site, name, image, digests.checkpoint()) : undefined
  return { image, checkpoint }
}
