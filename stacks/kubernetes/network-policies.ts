import * as k8s from '@pulumi/kubernetes'
import * as pulumi from '@pulumi/pulumi'
import { inCluster, metadata, podLabels, type ClusterPlace } from './place.ts'

type Peer = k8s.types.input.networking.v1.NetworkPolicyPeer

const pods = (...names: string[]): Peer[] => names.map((name) => ({ podSelector: { matchLabels: podLabels(name) } }))

/** Who may connect to the pods of each service: pure. Empty peers: everybody. */
export const openPorts = (
  config: ClusterPlace['site']['config'],
  monitoring: readonly Peer[],
): readonly { readonly to: string; readonly port: number; readonly from: readonly Peer[] }[] => {
  return [
    { to: 'gateway', port: config.gatewayPort, from: [] },
    { to: 'gateway', port: config.callPort, from: pods('node-agent') },
    { to: 'scheduler', port: config.schedulerPort, from: [...pods('gateway'), ...monitoring] },
    { to: 'node-agent', port: config.nodeAgentPort, from: [...pods('gateway', 'scheduler'), ...monitoring] },
    { to: 'node-agent', port: config.peerPort, from: pods('node-agent') },
    { to: 'nats', port: config.natsPort, from: pods('gateway', 'scheduler', 'node-agent') },
    { to: 'nats', port: config.natsClusterPort, from: pods('nats') },
  ]
}

/** Nothing is let in but what is listed. The kubelet's probes come from the node, which every network lets in. */
export class NetworkPolicies extends pulumi.ComponentResource {
  constructor(place: ClusterPlace, monitored: boolean, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:NetworkPolicies', 'network-policies', {}, options)
    const { monitoringNamespace } = place.settings
    const monitors = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': monitoringNamespace } } }
    const rules = openPorts(place.site.config, monitored ? [monitors] : [])
    for (const name of new Set(rules.map(({ to }) => to))) {
      const ingress = rules
        .filter(({ to }) => to === name)
        .map(({ port, from }) => ({
          ports: [{ port, protocol: 'TCP' }],
          ...(from.length > 0 ? { from: [...from] } : {}),
        }))
      new k8s.networking.v1.NetworkPolicy(
        name,
        {
          metadata: metadata(place, name),
          spec: { podSelector: { matchLabels: podLabels(name) }, policyTypes: ['Ingress'], ingress },
        },
        inCluster(place, this),
      )
    }
    this.registerOutputs({})
  }
}
