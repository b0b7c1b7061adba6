/** One installation on many machines, as a list: what each host has by its roles, and what waits for what. */
import * as pulumi from '@pulumi/pulumi'
import type { RuntimeName } from '../services/contracts/function.ts'
import { Certificates } from './components/certificates.ts'
import { CheckpointImage, checkpointsDir } from './components/checkpoint-image.ts'
import { ClientFile } from './components/client-file.ts'
import { ClusterSecret, Credentials } from './components/credentials.ts'
import { Gateway } from './components/gateway.ts'
import { HostDirectories } from './components/host-directories.ts'
import { HostFirewall } from './components/host-firewall.ts'
import { Machine, sha256Of } from './components/machine.ts'
import { natsAccess, natsName, NatsServer } from './components/nats-server.ts'
import { NodeAddon } from './components/node-addon.ts'
import { NodeAgent } from './components/node-agent.ts'
import { NodeCordon } from './components/node-cordon.ts'
import { internalUrl } from './components/node-service.ts'
import { PlacedFile } from './components/placed-file.ts'
import { RuntimeImage } from './components/runtime-image.ts'
import { Scheduler } from './components/scheduler.ts'
import { shareOfMemory } from './config.ts'
import { internalAddress, type HostConfig, type Role } from './host-config.ts'
import type { BuilderDigests, Installation } from './installation.ts'
import { createSite, type Site } from './site.ts'
import { serviceUser } from './ssh/prepare-script.ts'
import { SshHost } from './ssh/ssh-host.ts'

const having = (hosts: readonly HostConfig[], role: Role): HostConfig[] =>
  hosts.filter(({ roles }) => roles.includes(role))

/** Names in a host's certificate: what it may be taken for. */
const certificateNames = ({ roles }: HostConfig): string[] =>
  roles
    .map((role) => ({ gateway: 'gateway', scheduler: 'scheduler', node: 'node-agent', nats: natsName })[role])
    .toSorted()

/** What a host has before any service, and where these are. */
interface PreparedHost {
  readonly host: HostConfig
  readonly ssh: SshHost
  readonly machine: Machine
  readonly site: Site
}

/**
 * Hosts do not wait for each other, except for a single NATS: one that is down keeps no other from being changed. Services go on trying
 * until they reach what they need.
 *
 * @param workshop this machine, on which images are built
 */
export const createFleet = (workshop: Site, digests: BuilderDigests): Installation => {
  const { config, repoRoot } = workshop
  const { hosts, natsPort, certificateDays: days } = config
  const credentials = new Credentials('credentials', config)
  const subjects = Object.fromEntries(
    hosts.map((host) => [host.name, { names: certificateNames(host), addresses: [internalAddress(host)] }]),
  )
  const certificates = new Certificates('certificates', { subjects, days })

  const prepare = (host: HostConfig): PreparedHost => {
    const ssh = new SshHost(host, config, repoRoot)
    const machine = new Machine({ host, ssh, config, repoRoot })
    const exposure = { address: internalAddress(host), tls: certificates.filesOf(host.name) }
    const user = serviceUser(config.installation)
    const site = createSite({ host: ssh, config, repoRoot, programs: machine.programs, exposure, user })
    const directories = new HostDirectories(site)
    if (config.firewall) ssh.waitFor(new HostFirewall(site, host, { dependsOn: directories }))
    ssh.waitFor(directories)
    return { host, ssh, machine, site }
  }
  const prepared = new Map(hosts.map((host) => [host.name, prepare(host)]))
  const on = (role: Role) => having(hosts, role).flatMap(({ name }) => prepared.get(name) ?? [])

  const natsHosts = on('nats')
  const cluster = natsHosts.length > 1 ? new ClusterSecret('nats-cluster') : undefined
  const servers = natsHosts.map(({ host, site }) => {
    const others = natsHosts.map((other) => internalAddress(other.host)).filter((at) => at !== internalAddress(host))
    return new NatsServer(site, credentials, cluster && { others, password: cluster.password })
  })
  const nats = natsAccess(
    credentials,
    natsPort,
    natsHosts.map(({ site }) => site.exposure),
    cluster ? [] : servers,
  )

  const schedulers = on('scheduler').map(({ site }) => new Scheduler(site, credentials, nats))
  const schedulerUrls = schedulers.map(({ url }) => url)

  const images = config.runtimes.map((name) => [name, new RuntimeImage(workshop, name, digests.runtime(name))] as const)
  const { path: source } = new NodeAddon(workshop)
  const checkpointDigest = digests.checkpoint()
  const nodeAgents = on('node').map((place) => {
    const addon = placeAddon(place, source)
    const runtimes = Object.fromEntries(
      images.map(([name, image]) => [name, placeRuntime(place, { name, image, addon, digest: checkpointDigest })]),
    )
    const files = Object.values(runtimes).flatMap(({ image, checkpoint }) =>
      checkpoint ? [image, checkpoint] : [image],
    )
    const nodeId = `${config.installation}-${place.host.name}`
    const { pool, labels } = place.host
    const capacity = capacityOf(place)
    const agent = { credentials, nats, runtimes, addon: addon.path, nodeId, capacity, pool, labels }
    return new NodeAgent(place.site, agent, { dependsOn: [addon, ...files] })
  })

  const joining =
    config.joinFrom.length === 0
      ? undefined
      : {
          callUrls: on('gateway').map(({ site }) => internalUrl(site, config.callPort)),
          controlAddresses: [
            ...new Set([...having(hosts, 'gateway'), ...having(hosts, 'scheduler')].map(internalAddress)),
          ].toSorted(),
        }
  const gateways = on('gateway').map(({ site }) => new Gateway(site, { credentials, nats, schedulerUrls, joining }))
  for (const { name, cordoned, roles } of hosts)
    if (cordoned && roles.includes('node'))
      new NodeCordon(
        workshop,
        { host: name, nodeId: `${config.installation}-${name}`, credentials },
        { dependsOn: [...gateways, ...schedulers, ...nodeAgents] },
      )
  const client = new ClientFile(workshop, credentials, { dependsOn: gateways })
  const services = [...servers, ...schedulers, ...nodeAgents, ...gateways, client]
  return { credentials, nodeAgents, client, services, runtimes: {} }
}

/** What the host's configuration says, else that of all hosts, else what the machine has. */
const capacityOf = ({ host, machine, site: { config } }: PreparedHost) =>
  pulumi.output({
    memoryMiB:
      host.memoryMiB ?? config.nodeMemoryMiB ?? machine.facts.apply(({ memoryMiB }) => shareOfMemory(memoryMiB)),
    instances: host.instances ?? config.nodeInstances,
  })

const placeAddon = ({ site, ssh }: PreparedHost, source: pulumi.Output<string>): PlacedFile =>
  new PlacedFile(site, ssh, { name: 'addon', source, sha256: source.apply(sha256Of), directory: 'native' })

interface RuntimeArgs {
  readonly name: RuntimeName
  readonly image: RuntimeImage
  readonly addon: PlacedFile
  readonly digest: string
}

/** The image is sent; its checkpoint is made on the host itself, because it is bound to the CPU's features. */
const placeRuntime = ({ site, ssh }: PreparedHost, { name, image, addon, digest }: RuntimeArgs) => {
  const file = { name: `${name}-image`, source: image.path, sha256: image.digest, directory: 'images' }
  const placed = new PlacedFile(site, ssh, file)
  if (!site.config.checkpoints) return { image: placed, checkpoint: undefined }
  const outDir = checkpointsDir(site.config.stateDir)
  const args = { runtime: name, image: placed, inputsDigest: digest, outDir, addon: addon.path }
  return { image: placed, checkpoint: new CheckpointImage(site, args, { dependsOn: [placed, addon] }) }
}
