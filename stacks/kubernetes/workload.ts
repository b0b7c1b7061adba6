/** What the pods of all services have in common. */
import { createHash } from 'node:crypto'
import * as k8s from '@pulumi/kubernetes'
import * as pulumi from '@pulumi/pulumi'
import { imageUser } from './images/base-layer.ts'
import { inCluster, metadata, podLabels, type ClusterPlace } from './place.ts'

type Container = k8s.types.input.core.v1.Container
type PodTemplate = k8s.types.input.core.v1.PodTemplateSpec
type PodSpec = k8s.types.input.core.v1.PodSpec

export interface SecretFiles {
  readonly secret: k8s.core.v1.Secret
  /** Of the contents; in the pods' template it makes a change of them a new roll-out. No secret itself. */
  readonly digest: pulumi.Output<string>
}

/** @param files by name; mounted as a directory, and encrypted in the state */
export const secretFiles = (
  place: ClusterPlace,
  name: string,
  files: Readonly<Record<string, pulumi.Input<string>>>,
  parent: pulumi.Resource,
): SecretFiles => {
  const stringData = pulumi.secret(files)
  const secret = new k8s.core.v1.Secret(name, { metadata: metadata(place, name), stringData }, inCluster(place, parent))
  const digest = stringData.apply((all) => createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 32))
  return { secret, digest: pulumi.unsecret(digest) }
}

/** Neither root nor anything that root has. */
export const withoutRights: k8s.types.input.core.v1.SecurityContext = {
  runAsNonRoot: true,
  runAsUser: imageUser,
  runAsGroup: imageUser,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
}

/** One pod of a kind a machine, and a zone, as far as there are some. */
const spread = (name: string): PodSpec['topologySpreadConstraints'] =>
  ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map((topologyKey) => ({
    topologyKey,
    maxSkew: 1,
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: podLabels(name) },
  }))

export const httpProbes = (
  port: number,
  scheme: 'HTTP' | 'HTTPS',
): Pick<Container, 'readinessProbe' | 'livenessProbe'> => ({
  readinessProbe: {
    httpGet: { path: '/readyz', port, scheme },
    periodSeconds: 2,
    timeoutSeconds: 5,
    failureThreshold: 3,
  },
  // As long as a service under systemd may stand still.
  livenessProbe: {
    httpGet: { path: '/healthz', port, scheme },
    periodSeconds: 10,
    timeoutSeconds: 5,
    failureThreshold: 3,
    initialDelaySeconds: 10,
  },
})

export interface PodParts {
  readonly name: string
  readonly files: SecretFiles
  readonly spec: PodSpec
}

/** @param parts containers, volumes, and whatever differs from the common */
export const podTemplate = ({ name, files, spec }: PodParts): PodTemplate => ({
  metadata: { labels: podLabels(name), annotations: { 'forkyard/config': files.digest } },
  spec: {
    // No service asks the cluster anything.
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: { fsGroup: imageUser },
    ...spec,
    ...(spec.nodeSelector ? {} : { topologySpreadConstraints: spread(name) ?? [] }),
  },
})

export const secretVolume = ({ secret }: SecretFiles) => ({
  name: 'config',
  secret: { secretName: secret.metadata.name, defaultMode: 0o440 },
})

/** At most one of them is taken away at a time, for a machine to be emptied. */
export const disruptionBudget = (place: ClusterPlace, name: string, parent: pulumi.Resource): void => {
  const spec = { maxUnavailable: 1, selector: { matchLabels: podLabels(name) } }
  new k8s.policy.v1.PodDisruptionBudget(name, { metadata: metadata(place, name), spec }, inCluster(place, parent))
}
