import { dirname } from 'node:path'
import * as k8s from '@pulumi/kubernetes'
import * as pulumi from '@pulumi/pulumi'
import { gatewayConfig, stagingDir } from '../components/gateway.ts'
import type { Credentials } from '../components/credentials.ts'
import type { NatsAccess } from '../components/nats-server.ts'
import { schedulerConfig } from '../components/scheduler.ts'
import type { TlsFiles } from '../site.ts'
import { inCluster, metadata, podLabels, workloadMetadata, type ClusterPlace } from './place.ts'
import { ServiceImage } from './service-image.ts'
import {
  disruptionBudget,
  httpProbes,
  podTemplate,
  secretFiles,
  secretVolume,
  withoutRights,
  type SecretFiles,
} from './workload.ts'

export interface ServiceArgs {
  readonly credentials: Credentials
  readonly nats: NatsAccess
  readonly tls: pulumi.Output<TlsFiles>
}

/** Where nodes bring calls of functions. */
const callService = 'gateway-calls'
export const serviceBundle = '/opt/forkyard/main.mjs'
export const nodeProgram = '/usr/bin/node'

interface DeploymentParts {
  readonly name: 'gateway' | 'scheduler'
  readonly files: SecretFiles
  readonly port: number
  readonly scheme: 'HTTP' | 'HTTPS'
  readonly replicas: number
  readonly requests: { cpu: string; memory: string }
  /** Empty at each start. */
  readonly scratch: readonly string[]
  readonly graceSeconds: number
  readonly dependsOn: readonly pulumi.Resource[]
}

const deploy = (place: ClusterPlace, parts: DeploymentParts, parent: pulumi.Resource): k8s.apps.v1.Deployment => {
  const { name, files, port, scratch } = parts
  const bundles = { [serviceBundle]: `services/${name}/main.ts` }
  const image = new ServiceImage(
    place.workshop,
    place.settings,
    { name, bundles, base: true, entrypoint: [nodeProgram, serviceBundle] },
    { parent },
  )
  const container = {
    name,
    image: image.reference,
    imagePullPolicy: image.pullPolicy,
    args: ['--config', '/etc/forkyard/config.json'],
    ports: [{ name: 'http', containerPort: port }],
    volumeMounts: [
      { name: 'config', mountPath: '/etc/forkyard', readOnly: true },
      ...scratch.map((mountPath, index) => ({ name: `scratch-${index}`, mountPath })),
    ],
    ...httpProbes(port, parts.scheme),
    // Until nobody is sent here any more.
    lifecycle: { preStop: { sleep: { seconds: 3 } } },
    resources: { requests: parts.requests },
    securityContext: withoutRights,
  }
  const volumes = [secretVolume(files), ...scratch.map((_, index) => ({ name: `scratch-${index}`, emptyDir: {} }))]
  const spec = { containers: [container], volumes, terminationGracePeriodSeconds: parts.graceSeconds }
  disruptionBudget(place, name, parent)
  return new k8s.apps.v1.Deployment(
    name,
    {
      metadata: workloadMetadata(place, name),
      spec: {
        replicas: parts.replicas,
        // Where there is no room for one more, one goes first.
        strategy: {
          type: 'RollingUpdate',
          rollingUpdate: { maxUnavailable: parts.replicas > 1 ? 1 : 0, maxSurge: 1 },
        },
        selector: { matchLabels: podLabels(name) },
        template: podTemplate({ name, files, spec }),
      },
    },
    inCluster(place, parent, [image, ...parts.dependsOn]),
  )
}

const expose = (
  place: ClusterPlace,
  { name, pods = name, port, type }: ServiceParts,
  parent: pulumi.Resource,
  after: pulumi.Resource,
) => {
  // Its pods are ready when it is made; only an address from outside takes time.
  const about = type === 'LoadBalancer' ? workloadMetadata(place, name) : metadata(place, name)
  const spec = { type, selector: podLabels(pods), ports: [{ name: 'http', port, targetPort: port }] }
  new k8s.core.v1.Service(name, { metadata: about, spec }, inCluster(place, parent, [after]))
}

interface ServiceParts {
  readonly name: string
  /** Name of the workload. Default: the service's. */
  readonly pods?: string
  readonly port: number
  readonly type: string
}

/** Answers placement requests. One of them leads; gateways find it behind the one address of all. */
export class SchedulerDeployment extends pulumi.ComponentResource {
  readonly url: string

  constructor(
    place: ClusterPlace,
    { credentials, nats, tls }: ServiceArgs,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super('forkyard:index:SchedulerDeployment', 'scheduler', {}, options)
    const { schedulerPort: port } = place.site.config
    const site = { ...place.site, exposure: { ...place.site.exposure, tls } }
    const config = pulumi.jsonStringify(schedulerConfig(site, credentials, nats))
    const files = secretFiles(place, 'scheduler', { 'config.json': config }, this)
    const deployment = deploy(
      place,
      {
        name: 'scheduler',
        files,
        port,
        scheme: 'HTTPS',
        replicas: place.settings.schedulers,
        requests: { cpu: '100m', memory: '192Mi' },
        scratch: [],
        graceSeconds: 30,
        dependsOn: nats.dependencies,
      },
      this,
    )
    expose(place, { name: 'scheduler', port, type: 'ClusterIP' }, this, deployment)
    this.url = `https://scheduler:${port}`
    this.registerOutputs({ url: this.url })
  }
}

/** Where every request enters: the Lambda API and function URLs. */
export class GatewayDeployment extends pulumi.ComponentResource {
  constructor(
    place: ClusterPlace,
    { credentials, nats, tls, schedulerUrls }: ServiceArgs & { readonly schedulerUrls: readonly string[] },
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super('forkyard:index:GatewayDeployment', 'gateway', {}, options)
    const { gatewayPort: port, callPort } = place.site.config
    const site = { ...place.site, exposure: { ...place.site.exposure, tls } }
    const callUrl = `https://${callService}:${callPort}`
    const config = pulumi.jsonStringify(gatewayConfig(site, { credentials, nats, schedulerUrls }, callUrl))
    const files = secretFiles(place, 'gateway', { 'config.json': config }, this)
    const deployment = deploy(
      place,
      {
        name: 'gateway',
        files,
        port,
        scheme: 'HTTP',
        replicas: place.settings.gateways,
        requests: { cpu: '250m', memory: '256Mi' },
        scratch: [dirname(stagingDir(site)), '/tmp'],
        graceSeconds: 45,
        dependsOn: nats.dependencies,
      },
      this,
    )
    expose(place, { name: 'gateway', port, type: place.settings.serviceType }, this, deployment)
    // A service of its own: the other one may be open to the outside.
    expose(place, { name: callService, pods: 'gateway', port: callPort, type: 'ClusterIP' }, this, deployment)
    this.registerOutputs({})
  }
}
