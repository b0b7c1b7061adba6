/** What the target `kubernetes` needs to know beyond what all targets do: the object `forkyard:kubernetes` of the stack's configuration. */
import { Type, type Static } from 'typebox'
import { objectProblems } from '../config-problem.ts'

const name = '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'

export const KubernetesConfig = Type.Object(
  {
    kubeconfig: Type.Optional(
      Type.String({
        pattern: '^/',
        description: 'File with the way to the cluster. Default $KUBECONFIG, ~/.kube/config',
      }),
    ),
    context: Type.Optional(Type.String({ description: 'Of that file. Default its current one' })),
    namespace: Type.Optional(
      Type.String({
        pattern: name,
        description: 'Made by the stack, and gone with it. Default forkyard-<installation>',
      }),
    ),
    images: Type.Enum(['import', 'registry'] as const, {
      default: 'import',
      description:
        'How nodes get the images that the stack builds: import, through the commands in importers; registry',
    }),
    importers: Type.Array(Type.Array(Type.String(), { minItems: 1 }), {
      default: [],
      description:
        'images import: commands, each a list of words, that take an OCI archive on stdin to a node, or to all; run for every image',
    }),
    registry: Type.Optional(
      Type.String({
        pattern: '^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$',
        description: 'images registry: where they are pushed, host[:port][/path]; nodes pull them from there by digest',
      }),
    ),
    gateways: Type.Integer({ minimum: 1, default: 2, description: 'Gateways' }),
    schedulers: Type.Integer({
      minimum: 1,
      default: 2,
      description: 'Schedulers, of which one leads and the others take over within seconds',
    }),
    natsServers: Type.Integer({
      minimum: 1,
      maximum: 3,
      default: 1,
      description: 'Servers of NATS: 1, or 3, which keep everything three times',
    }),
    storageClass: Type.Optional(Type.String({ description: 'Of the volumes of NATS. Default that of the cluster' })),
    storage: Type.String({
      pattern: '^[0-9]+(Mi|Gi|Ti)$',
      default: '10Gi',
      description: 'Size of the volume of each server of NATS',
    }),
    nodeLabel: Type.String({
      pattern: '^([a-z0-9.-]+/)?[A-Za-z0-9._-]+=[A-Za-z0-9._-]*$',
      default: 'forkyard/node=true',
      description: 'Nodes with this label run functions: a node agent with all privileges, its state on the node',
    }),
    serviceType: Type.Enum(['ClusterIP', 'NodePort', 'LoadBalancer'] as const, {
      default: 'ClusterIP',
      description: 'Of the Service gateway',
    }),
    host: Type.Optional(
      Type.String({ pattern: '^[a-z0-9.-]+$', description: 'Name for an Ingress or HTTPRoute to the gateways' }),
    ),
    ingressClass: Type.Optional(Type.String({ description: 'An Ingress for host is made, of this class' })),
    tlsSecret: Type.Optional(
      Type.String({ pattern: name, description: 'Of the Ingress: a Secret of that namespace with the certificate' }),
    ),
    parentGateway: Type.Optional(
      Type.String({
        pattern: '^[a-z0-9-]+/[a-z0-9-]+$',
        description: 'Gateway API: an HTTPRoute for host is made at this Gateway, <namespace>/<name>',
      }),
    ),
    networkPolicies: Type.Boolean({
      default: true,
      description: 'Pods take connections from those who need them alone, where the network of the cluster enforces it',
    }),
    serviceMonitors: Type.Enum(['auto', 'always', 'never'] as const, {
      default: 'auto',
      description: 'For Prometheus Operator; auto: when the cluster has the resource',
    }),
    monitoringNamespace: Type.String({
      pattern: name,
      default: 'monitoring',
      description: 'From where metrics are read; let in where there are ServiceMonitors',
    }),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'kubernetes: the cluster, and how to be in it (JSON object)',
  },
)
export type KubernetesConfig = Static<typeof KubernetesConfig>

/** @param key of the object @param value with its defaults */
export const kubernetesProblems = (key: string, value: unknown): string[] => {
  const problems = objectProblems(key, KubernetesConfig, value)
  if (problems.length > 0) return problems
  const { images, importers, registry, host, ingressClass, parentGateway, tlsSecret, natsServers } =
    value as KubernetesConfig
  const rules: readonly [boolean, string][] = [
    [images === 'registry' && !registry, `registry: is missing; ${key}.images is registry`],
    [images === 'import' && importers.length === 0, `importers: is empty; ${key}.images is import`],
    [!host && Boolean(ingressClass ?? parentGateway), `host: is missing; there is an ingressClass or a parentGateway`],
    [natsServers === 2, `natsServers: 2 cannot agree when one is lost; 1 or 3`],
    [Boolean(tlsSecret) && !ingressClass, `tlsSecret: is for ${key}.ingressClass alone`],
  ]
  return rules.flatMap(([broken, text]) => (broken ? [`${key}.${text}`] : []))
}

export const namespaceOf = (installation: string, { namespace }: KubernetesConfig): string =>
  namespace ?? `forkyard-${installation}`

/** As clients reach the gateways, if nothing else is said. */
export const clusterUrl = (installation: string, config: KubernetesConfig, gatewayPort: number): string =>
  config.host
    ? `${config.tlsSecret ? 'https' : 'http'}://${config.host}`
    : `http://gateway.${namespaceOf(installation, config)}.svc:${gatewayPort}`
