import * as k8s from '@pulumi/kubernetes'
import * as pulumi from '@pulumi/pulumi'
import { toolVersions } from '../../scripts/setup/tool-table.ts'
import { ClusterSecret, type Credentials } from '../components/credentials.ts'
import { natsServerConfig } from '../components/nats-config.ts'
import { natsAccess, type NatsAccess } from '../components/nats-server.ts'
import type { Exposure, TlsFiles } from '../site.ts'
import { inCluster, metadata, podLabels, workloadMetadata, type ClusterPlace } from './place.ts'
import { ServiceImage } from './service-image.ts'
import { disruptionBudget, podTemplate, secretFiles, secretVolume, withoutRights } from './workload.ts'

const name = 'nats'
const configDir = '/etc/nats'
const storeDir = '/data'
/** For the kubelet; no policy lets anybody else in. */
const monitorPort = 8222

/** Name of each server within the namespace: that of its pod at the headless service. */
export const natsHosts = (servers: number): string[] =>
  Array.from({ length: servers }, (_, at) => `${name}-${at}.${name}`)

/** What everything shared lies in: one server, or three, each with a volume of its own. */
export class NatsCluster extends pulumi.ComponentResource {
  readonly access: NatsAccess

  constructor(
    place: ClusterPlace,
    credentials: Credentials,
    tls: pulumi.Output<TlsFiles>,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    const { workshop, settings, site } = place
    // Its children are protected with it.
    super('forkyard:index:NatsCluster', name, {}, { ...options, protect: site.config.protectData })
    const { natsPort, natsClusterPort } = site.config
    const hosts = natsHosts(settings.natsServers)
    const secret = hosts.length > 1 ? new ClusterSecret('nats-cluster', { parent: this }) : undefined
    const paths = { ca: `${configDir}/ca.pem`, cert: `${configDir}/cert.pem`, key: `${configDir}/key.pem` }
    const text = pulumi
      .all([pulumi.output(credentials.natsPasswords), secret?.password])
      .apply(([passwords, password = '']) =>
        natsServerConfig({
          // The server reads it from its environment.
          serverName: '$POD_NAME',
          address: '0.0.0.0',
          port: natsPort,
          storeDir,
          passwords,
          tls: paths,
          monitorPort,
          peers: secret && { address: '0.0.0.0', port: natsClusterPort, addresses: hosts, password },
        }),
      )
    const pem = { 'ca.pem': tls.ca, 'cert.pem': tls.cert, 'key.pem': tls.key }
    const files = secretFiles(place, name, { 'nats-server.conf': text, ...pem }, this)
    const image = new ServiceImage(workshop, settings, natsImage(place), { parent: this })

    const ports = [
      { name: 'client', port: natsPort },
      { name: 'cluster', port: natsClusterPort },
    ]
    const service = new k8s.core.v1.Service(
      name,
      {
        // The servers of a cluster find each other before they are ready.
        spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector: podLabels(name), ports },
        metadata: metadata(place, name),
      },
      inCluster(place, this),
    )
    const { storageClass, storage } = settings
    const claim = {
      metadata: { name: 'data' },
      spec: {
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage } },
        ...(storageClass ? { storageClassName: storageClass } : {}),
      },
    }
    const container = {
      name,
      image: image.reference,
      imagePullPolicy: image.pullPolicy,
      args: ['--config', `${configDir}/nats-server.conf`],
      env: [{ name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
      volumeMounts: [
        { name: 'config', mountPath: configDir, readOnly: true },
        { name: 'data', mountPath: storeDir },
      ],
      // Not before the streams are recovered, and those of a cluster current.
      readinessProbe: { httpGet: { path: '/healthz', port: monitorPort }, periodSeconds: 2 },
      livenessProbe: {
        httpGet: { path: '/healthz?js-server-only=true', port: monitorPort },
        periodSeconds: 10,
        initialDelaySeconds: 30,
      },
      resources: { requests: { cpu: '100m', memory: '256Mi' } },
      securityContext: withoutRights,
    }
    const set = new k8s.apps.v1.StatefulSet(
      name,
      {
        metadata: workloadMetadata(place, name),
        spec: {
          serviceName: name,
          replicas: hosts.length,
          podManagementPolicy: 'Parallel',
          selector: { matchLabels: podLabels(name) },
          template: podTemplate({
            name,
            files,
            spec: { terminationGracePeriodSeconds: 30, containers: [container], volumes: [secretVolume(files)] },
          }),
          volumeClaimTemplates: [claim],
        },
      },
      inCluster(place, this, [image, service]),
    )
    disruptionBudget(place, name, this)
    const exposures: Exposure[] = hosts.map((address) => ({ address, tls }))
    this.access = natsAccess(credentials, natsPort, exposures, [set])
    this.registerOutputs({})
  }
}

const natsImage = ({ workshop }: ClusterPlace) => {
  const tool = 'nats-server'
  const file = { source: workshop.programs.tool(tool), name: tool, version: toolVersions[tool] }
  return { name, files: { '/nats-server': file }, base: false, entrypoint: ['/nats-server'] }
}
