import { dirname } from 'node:path'
import * as k8s from '@pulumi/kubernetes'
import * as pulumi from '@pulumi/pulumi'
import { toolVersions } from '../../scripts/setup/tool-table.ts'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import { nodeAgentConfig, type NodeRuntime } from '../components/node-agent.ts'
import { NodeAddon } from '../components/node-addon.ts'
import { RuntimeImage } from '../components/runtime-image.ts'
import type { BuilderDigests } from '../installation.ts'
import { inCluster, metadata, podLabels, workloadMetadata, type ClusterPlace } from './place.ts'
import { agentSetName as name, podPaths, type NodeTemplate } from './pod/node-template.ts'
import { ServiceImage } from './service-image.ts'
import { nodeProgram, serviceBundle, type ServiceArgs } from './services.ts'
import { httpProbes, podTemplate, secretFiles, secretVolume, withoutRights } from './workload.ts'

const podBundle = '/opt/forkyard/pod.mjs'
const addonInImage = '/opt/forkyard/host-calls.node'
export const runscInImage = '/opt/forkyard/bin/runsc'
const imageInImage = (runtime: string): string => `/opt/forkyard/images/${runtime}.erofs`

/** A node agent on each labelled node: privileged, since it makes sandboxes; what it keeps lies on the node. */
export class NodeAgents extends pulumi.ComponentResource {
  constructor(
    place: ClusterPlace,
    args: ServiceArgs & { readonly digests: BuilderDigests },
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super('forkyard:index:NodeAgents', name, {}, options)
    const { workshop, settings } = place
    const { config } = workshop
    const runtimes = Object.fromEntries(
      config.runtimes.map((runtime) => [
        runtime,
        new RuntimeImage(workshop, runtime, args.digests.runtime(runtime), { parent: this }),
      ]),
    )
    const addon = new NodeAddon(workshop, { parent: this })
    const files = {
      [runscInImage]: { source: workshop.programs.tool('runsc'), name: 'runsc', version: toolVersions.runsc },
      [addonInImage]: {
        source: addon.path,
        name: 'host-calls',
        version: addon.path.apply((path) => /([0-9a-f]+)\.node$/.exec(path)?.[1] ?? '0'),
      },
      ...Object.fromEntries(
        Object.entries(runtimes).map(([runtime, { path, digest }]) => [
          imageInImage(runtime),
          { source: path, name: `${runtime} runtime image`, version: digest },
        ]),
      ),
    }
    const bundles = { [serviceBundle]: 'services/node-agent/main.ts', [podBundle]: 'stacks/kubernetes/pod/main.ts' }
    const image = new ServiceImage(
      workshop,
      settings,
      { name, bundles, files, base: true, entrypoint: [nodeProgram] },
      { parent: this },
    )
    const secret = secretFiles(place, name, { 'template.json': nodeTemplate(place, args, runtimes) }, this)
    const asking = mayAskForItself(place, this)
    const [labelName = '', labelValue = ''] = settings.nodeLabel.split('=')
    new k8s.apps.v1.DaemonSet(
      name,
      {
        metadata: workloadMetadata(place, name),
        spec: {
          selector: { matchLabels: podLabels(name) },
          updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } },
          template: podTemplate({
            name,
            files: secret,
            spec: {
              ...agentPod(place, image),
              nodeSelector: { [labelName]: labelValue },
              volumes: [secretVolume(secret), ...volumes(place)],
            },
          }),
        },
      },
      {
        ...inCluster(place, this, [image, ...asking, ...args.nats.dependencies]),
        customTimeouts: { create: '15m', update: '30m' },
      },
    )
    this.registerOutputs({})
  }
}

const nodeTemplate = (
  place: ClusterPlace,
  { credentials, nats, tls, digests }: ServiceArgs & { readonly digests: BuilderDigests },
  images: Readonly<Record<string, RuntimeImage>>,
): pulumi.Output<string> => {
  const { site } = place
  const { installation, checkpoints, stateDir, nodeMemoryMiB, nodeInstances: instances } = site.config
  const runtimes = Object.fromEntries(
    Object.entries(images).map(([runtime, { digest }]) => [
      runtime,
      { image: { path: pulumi.output(imageInImage(runtime)), digest }, checkpoint: undefined },
    ]),
  ) as Partial<Record<RuntimeName, NodeRuntime>>
  // The node's own share is known on the node.
  const capacity = { instances, ...(nodeMemoryMiB === undefined ? {} : { memoryMiB: nodeMemoryMiB }) }
  const agent = nodeAgentConfig(
    { ...site, exposure: { ...site.exposure, tls } },
    {
      credentials,
      nats,
      runtimes,
      addon: pulumi.output(addonInImage),
      nodeId: installation,
      capacity: capacity as NodeAgentConfig['capacity'],
    },
  )
  const made = { outDir: `${stateDir}/checkpoints`, inputsDigest: digests.checkpoint() }
  return agent.apply((known) => {
    const template: NodeTemplate = { installation, agent: { ...known }, ...(checkpoints ? { checkpoints: made } : {}) }
    return JSON.stringify(template)
  })
}

const fromField = (variable: string, fieldPath: string) => ({ name: variable, valueFrom: { fieldRef: { fieldPath } } })

const agentPod = (
  { site }: ClusterPlace,
  image: ServiceImage,
): Pick<
  k8s.types.input.core.v1.PodSpec,
  'initContainers' | 'containers' | 'serviceAccountName' | 'terminationGracePeriodSeconds'
> => {
  const { installation, stateDir, runDir, nodeAgentPort, nodeMemoryMiB } = site.config
  const program = { image: image.reference, imagePullPolicy: image.pullPolicy }
  const state = { name: 'state', mountPath: dirname(stateDir) }
  const groups = { name: 'groups', mountPath: '/sys/fs/cgroup' }
  const mounts = [
    { name: 'config', mountPath: dirname(podPaths.template), readOnly: true },
    { name: 'run', mountPath: '/run' },
    state,
    groups,
  ]
  const asRoot = { runAsUser: 0, runAsNonRoot: false }
  return {
    serviceAccountName: name,
    terminationGracePeriodSeconds: 60,
    initContainers: [
      {
        ...program,
        name: 'keep',
        // Ends after the agent has.
        restartPolicy: 'Always',
        args: [podBundle, 'keep'],
        env: [
          fromField('NAMESPACE', 'metadata.namespace'),
          { name: 'INSTALLATION', value: installation },
          { name: 'STATE_DIR', value: stateDir },
          { name: 'RUN_DIR', value: runDir },
        ],
        volumeMounts: [state, groups, { name: 'token', mountPath: podPaths.token, readOnly: true }],
        resources: { requests: { cpu: '10m', memory: '48Mi' } },
        // The files that it removes are root's; where control groups lie not even root may write without this.
        securityContext: {
          ...withoutRights,
          ...asRoot,
          runAsGroup: 0,
          capabilities: { drop: ['ALL'], add: ['DAC_OVERRIDE'] },
        },
      },
      {
        ...program,
        name: 'prepare',
        args: [podBundle, 'prepare'],
        env: [fromField('NODE_NAME', 'spec.nodeName'), fromField('POD_IP', 'status.podIP')],
        volumeMounts: mounts,
        securityContext: { ...asRoot, privileged: true },
      },
    ],
    containers: [
      {
        ...program,
        name,
        args: [serviceBundle, '--config', podPaths.config],
        ports: [{ name: 'http', containerPort: nodeAgentPort }],
        volumeMounts: mounts,
        ...httpProbes(nodeAgentPort, 'HTTPS'),
        // Sandboxes have control groups of their own beside the pod's: the request is what keeps memory for them.
        resources: { requests: { cpu: '250m', memory: `${nodeMemoryMiB ?? 512}Mi` } },
        securityContext: { ...asRoot, privileged: true },
      },
    ],
  }
}

const volumes = ({ site }: ClusterPlace): k8s.types.input.core.v1.Volume[] => [
  { name: 'state', hostPath: { path: dirname(site.config.stateDir), type: 'DirectoryOrCreate' } },
  { name: 'groups', hostPath: { path: '/sys/fs/cgroup', type: 'Directory' } },
  { name: 'run', emptyDir: { medium: 'Memory' } },
  {
    name: 'token',
    projected: {
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: 3600 } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      ],
    },
  },
]

/** The one question that a pod asks: whether its own DaemonSet is still wanted. */
const mayAskForItself = (place: ClusterPlace, parent: pulumi.Resource): pulumi.Resource[] => {
  const options = inCluster(place, parent)
  const account = new k8s.core.v1.ServiceAccount(
    name,
    { metadata: metadata(place, name), automountServiceAccountToken: false },
    options,
  )
  const rules = [{ apiGroups: ['apps'], resources: ['daemonsets'], resourceNames: [name], verbs: ['get'] }]
  const role = new k8s.rbac.v1.Role(name, { metadata: metadata(place, name), rules }, options)
  const binding = new k8s.rbac.v1.RoleBinding(
    name,
    {
      metadata: metadata(place, name),
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: place.namespace.metadata.name }],
    },
    inCluster(place, parent, [role]),
  )
  return [account, binding]
}
