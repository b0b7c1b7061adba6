import { ApisApi, KubeConfig } from '@kubernetes/client-node'
import * as k8s from '@pulumi/kubernetes'
import * as pulumi from '@pulumi/pulumi'
import type { KubernetesConfig } from './config.ts'
import { inCluster, metadata, podLabels, type ClusterPlace } from './place.ts'

const group = 'monitoring.coreos.com'

/** Asks the cluster, unless the configuration says it. @throws Error when it cannot be reached */
export const wantsMonitors = async ({ serviceMonitors, kubeconfig, context }: KubernetesConfig): Promise<boolean> => {
  if (serviceMonitors !== 'auto') return serviceMonitors === 'always'
  const config = new KubeConfig()
  if (kubeconfig) config.loadFromFile(kubeconfig)
  else config.loadFromDefault()
  if (context) config.setCurrentContext(context)
  try {
    const { groups } = await config.makeApiClient(ApisApi).getAPIVersions()
    return groups.some(({ name }) => name === group)
  } catch (error) {
    throw new Error(`the cluster of forkyard:kubernetes cannot be asked what it has: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/** Tells Prometheus Operator where the metrics are. */
export class Monitors extends pulumi.ComponentResource {
  constructor(place: ClusterPlace, ca: pulumi.Output<string>, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:Monitors', 'monitors', {}, options)
    const { nodeAgentPort } = place.site.config
    // The authority's certificate is no secret, though it comes with one.
    const authority = new k8s.core.v1.ConfigMap(
      'authority',
      { metadata: metadata(place, 'authority'), data: { 'ca.pem': pulumi.unsecret(ca) } },
      inCluster(place, this),
    )
    const agents = new k8s.core.v1.Service(
      'node-agent',
      {
        metadata: metadata(place, 'node-agent'),
        spec: { clusterIP: 'None', selector: podLabels('node-agent'), ports: [{ name: 'http', port: nodeAgentPort }] },
      },
      inCluster(place, this),
    )
    for (const name of ['gateway', 'scheduler', 'node-agent']) {
      const secure = {
        scheme: 'https',
        tlsConfig: { serverName: name, ca: { configMap: { name: 'authority', key: 'ca.pem' } } },
      }
      new k8s.apiextensions.CustomResource(
        `${name}-monitor`,
        {
          apiVersion: `${group}/v1`,
          kind: 'ServiceMonitor',
          metadata: metadata(place, name),
          spec: {
            selector: { matchLabels: podLabels(name) },
            endpoints: [{ port: 'http', path: '/metrics', ...(name === 'gateway' ? {} : secure) }],
          },
        },
        inCluster(place, this, [authority, agents]),
      )
    }
    this.registerOutputs({})
  }
}
