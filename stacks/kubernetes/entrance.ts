import * as k8s from '@pulumi/kubernetes'
import * as pulumi from '@pulumi/pulumi'
import { inCluster, metadata, type ClusterPlace } from './place.ts'

/** The way in from outside, by the cluster's Ingress controller or Gateway, whichever the configuration names. */
export class Entrance extends pulumi.ComponentResource {
  constructor(place: ClusterPlace, host: string, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:Entrance', 'entrance', {}, options)
    const { ingressClass, tlsSecret, parentGateway } = place.settings
    const port = place.site.config.gatewayPort
    if (ingressClass) {
      const backend = { service: { name: 'gateway', port: { number: port } } }
      new k8s.networking.v1.Ingress(
        'gateway',
        {
          metadata: metadata(place, 'gateway'),
          spec: {
            ingressClassName: ingressClass,
            ...(tlsSecret ? { tls: [{ hosts: [host], secretName: tlsSecret }] } : {}),
            rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }],
          },
        },
        inCluster(place, this),
      )
    }
    if (parentGateway) {
      const [namespace, name] = parentGateway.split('/')
      new k8s.apiextensions.CustomResource(
        'gateway-route',
        {
          apiVersion: 'gateway.networking.k8s.io/v1',
          kind: 'HTTPRoute',
          metadata: metadata(place, 'gateway'),
          spec: {
            parentRefs: [{ namespace, name }],
            hostnames: [host],
            rules: [{ backendRefs: [{ name: 'gateway', port }] }],
          },
        },
        inCluster(place, this),
      )
    }
    this.registerOutputs({})
  }
}
