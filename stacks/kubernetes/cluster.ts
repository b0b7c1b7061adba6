/** One installation in a cluster of Kubernetes, as a list: what it is made of, and what waits for what. */
import * as k8s from '@pulumi/kubernetes'
import { Certificates } from '../components/certificates.ts'
import { ClientFile } from '../components/client-file.ts'
import { Credentials } from '../components/credentials.ts'
import { natsName } from '../components/nats-server.ts'
import type { BuilderDigests, Installation } from '../installation.ts'
import { createSite, type Site } from '../site.ts'
import { namespaceOf, type KubernetesConfig } from './config.ts'
import { Entrance } from './entrance.ts'
import { Monitors } from './monitors.ts'
import { natsHosts, NatsCluster } from './nats.ts'
import { NetworkPolicies } from './network-policies.ts'
import { NodeAgents, runscInImage } from './node-agents.ts'
import { fieldOwner, type ClusterPlace } from './place.ts'
import { GatewayDeployment, nodeProgram, SchedulerDeployment } from './services.ts'

/** What each may be taken for, whatever its address. */
const subjects = ({ natsServers }: KubernetesConfig) => ({
  gateway: { names: ['gateway'], addresses: [] },
  scheduler: { names: ['scheduler'], addresses: [] },
  'node-agent': { names: ['node-agent'], addresses: [] },
  nats: { names: [natsName, ...natsHosts(natsServers)], addresses: [] },
})

/** @param workshop this machine @param monitored there are to be ServiceMonitors */
export const createCluster = (workshop: Site, digests: BuilderDigests, monitored: boolean): Installation => {
  const { config } = workshop
  const { kubernetes: settings, certificateDays: days } = config
  const credentials = new Credentials('credentials', config)
  const certificates = new Certificates('certificates', { subjects: subjects(settings), days })
  const place = createPlace(workshop, settings)
  if (settings.networkPolicies) new NetworkPolicies(place, monitored)

  const nats = new NatsCluster(place, credentials, certificates.filesOf('nats')).access
  const service = (name: string) => ({ credentials, nats, tls: certificates.filesOf(name) })
  const scheduler = new SchedulerDeployment(place, service('scheduler'))
  const agents = new NodeAgents(place, { ...service('node-agent'), digests })
  const gateway = new GatewayDeployment(
    place,
    { ...service('gateway'), schedulerUrls: [scheduler.url] },
    { dependsOn: scheduler },
  )
  if (settings.host) new Entrance(place, settings.host, { dependsOn: gateway })
  if (monitored) new Monitors(place, certificates.filesOf('gateway').ca)
  const client = new ClientFile(workshop, credentials, { dependsOn: [gateway, agents] })
  return { credentials, nodeAgents: [], client, services: [scheduler, agents, gateway, client], runtimes: {} }
}

const createPlace = (workshop: Site, settings: KubernetesConfig): ClusterPlace => {
  const { host, config, repoRoot } = workshop
  const { kubeconfig, context } = settings
  const provider = new k8s.Provider('cluster', {
    ...(kubeconfig ? { kubeconfig } : {}),
    ...(context ? { context } : {}),
    enableServerSideApply: true,
    // A change rolls through the pods that have it mounted; a replacement would take them all away first.
    enableSecretMutable: true,
    enableConfigMapMutable: true,
  })
  const namespace = new k8s.core.v1.Namespace(
    'namespace',
    {
      metadata: {
        name: namespaceOf(config.installation, settings),
        // The agents need it; every other pod has no rights all the same.
        labels: { 'pod-security.kubernetes.io/enforce': 'privileged' },
        annotations: fieldOwner,
      },
    },
    { provider, protect: config.protectData },
  )
  const programs = { node: nodeProgram, tool: () => runscInImage }
  const site = createSite({ host, config, repoRoot, programs, exposure: { address: '0.0.0.0' } })
  return { provider, namespace, settings, site, workshop }
}
