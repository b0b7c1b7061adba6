/** Rules for what an installation has in a cluster of Kubernetes. */
import { isAtRisk, natsProblems } from './command-rules.ts'
import type { Rule, Subject } from './rules.ts'

interface SecurityContext {
  readonly privileged?: boolean
  readonly runAsNonRoot?: boolean
  readonly allowPrivilegeEscalation?: boolean
  readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] }
}

interface Container {
  readonly name: string
  readonly image: string
  readonly securityContext?: SecurityContext
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
}

interface PodSpec {
  readonly containers?: readonly Container[]
  readonly initContainers?: readonly Container[]
  readonly volumes?: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[]
  readonly hostNetwork?: boolean
  readonly hostPID?: boolean
  readonly hostIPC?: boolean
}

const workloads = ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'Job', 'CronJob', 'Pod']

const kindOf = ({ type }: Subject): string => (type.startsWith('kubernetes:') ? (type.split(':').at(-1) ?? '') : '')

interface Workload {
  readonly spec?: PodSpec & {
    readonly template?: { readonly spec?: PodSpec }
    readonly jobTemplate?: { readonly spec?: { readonly template?: { readonly spec?: PodSpec } } }
  }
}

const podOf = (subject: Subject): PodSpec | undefined => {
  if (!workloads.includes(kindOf(subject))) return undefined
  const { spec } = subject.props as Workload
  return spec?.jobTemplate?.spec?.template?.spec ?? spec?.template?.spec ?? spec
}

const containersOf = (subject: Subject): readonly Container[] => {
  const pod = podOf(subject)
  return [...(pod?.initContainers ?? []), ...(pod?.containers ?? [])]
}

const isAgent = (subject: Subject): boolean => kindOf(subject) === 'DaemonSet' && subject.name === 'node-agent'

/** `repository@sha256:...`, or what the stack imports itself, whose tag is the digest. */
const byDigest = /@sha256:[0-9a-f]{64}$|^forkyard\.invalid\/.*:sha256-[0-9a-f]{64}$/

const secretName = /password|passwd|token|secret|private_?key/i

const rightsOf = ({ name, securityContext: rights = {} }: Container): string[] => [
  ...(rights.privileged ? [`${name} is privileged`] : []),
  ...(rights.runAsNonRoot === true ? [] : [`${name} may run as root`]),
  ...(rights.allowPrivilegeEscalation === false ? [] : [`${name} may gain rights`]),
  ...(rights.capabilities?.drop?.includes('ALL') ? [] : [`${name} keeps capabilities`]),
  ...(rights.capabilities?.add?.length ? [`${name} adds capabilities`] : []),
]

export const workloadRules: readonly Rule[] = [
  {
    name: 'only-agents-privileged',
    description: 'Nothing but the DaemonSet node-agent has rights on its node.',
    check: (subject) => {
      const pod = podOf(subject)
      if (!pod || isAgent(subject)) return []
      const { hostNetwork, hostPID, hostIPC } = pod
      return [
        ...containersOf(subject).flatMap(rightsOf),
        ...(pod.volumes ?? []).flatMap(({ name, hostPath }) =>
          hostPath ? [`volume ${name} is ${hostPath.path} of the node`] : [],
        ),
        ...Object.entries({ hostNetwork, hostPID, hostIPC }).flatMap(([name, on]) => (on ? [`${name} is on`] : [])),
      ]
    },
  },
  {
    name: 'agents-apart-from-the-node',
    description: 'The node agent has processes, a network and a file system of its own.',
    check: (subject) => {
      if (!isAgent(subject)) return []
      const { hostNetwork, hostPID, hostIPC, volumes = [] } = podOf(subject) ?? {}
      return [
        ...Object.entries({ hostNetwork, hostPID, hostIPC }).flatMap(([name, on]) => (on ? [`${name} is on`] : [])),
        ...volumes.flatMap(({ name, hostPath }) =>
          hostPath && ['/', '/etc', '/root', '/var', '/var/run'].includes(hostPath.path.replace(/(.)\/$/, '$1'))
            ? [`volume ${name} is ${hostPath.path} of the node`]
            : [],
        ),
      ]
    },
  },
  {
    name: 'images-by-digest',
    description: 'An image is named by its digest: what runs is what was built.',
    check: (subject) =>
      containersOf(subject).flatMap(({ name, image }) =>
        byDigest.test(image) ? [] : [`${name} runs ${image}, which may become another`],
      ),
  },
  {
    name: 'nats-private',
    description: 'NATS is reached from inside the cluster alone.',
    check: (subject) => {
      if (kindOf(subject) !== 'Service' || !subject.name.startsWith('nats')) return []
      const { spec = {} } = subject.props as { spec?: { type?: string; externalIPs?: readonly string[] } }
      return (spec.type ?? 'ClusterIP') === 'ClusterIP' && !spec.externalIPs?.length
        ? []
        : ['NATS is reached from outside the cluster']
    },
  },
  {
    name: 'nats-closed-in-the-cluster',
    description: 'NATS asks for a password, and for TLS.',
    check: (subject) => {
      if (kindOf(subject) !== 'Secret') return []
      const { stringData = {} } = subject.props as { stringData?: Readonly<Record<string, string>> }
      const text = stringData['nats-server.conf']
      return text === undefined ? [] : natsProblems(text)
    },
  },
  {
    name: 'no-secrets-in-the-clear',
    description: 'Secrets lie in Secrets: a ConfigMap and a variable are for everybody who may look at pods.',
    check: (subject) => [
      ...containersOf(subject).flatMap(({ name, env = [] }) =>
        env.flatMap((entry) =>
          entry.value && secretName.test(entry.name) ? [`${name} has ${entry.name} as a variable`] : [],
        ),
      ),
      ...(kindOf(subject) === 'ConfigMap'
        ? Object.entries((subject.props as { data?: Readonly<Record<string, string>> }).data ?? {}).flatMap(
            ([key, value]) =>
              secretName.test(key) || /PRIVATE KEY-----/.test(value) ? [`${key} is a secret in a ConfigMap`] : [],
          )
        : []),
    ],
  },
  {
    name: 'nats-volumes-protected',
    description:
      'What lasts is not protected from deletion only where the configuration says forkyard:protectData: false.',
    check: (subject) =>
      ((kindOf(subject) === 'StatefulSet' && subject.name === 'nats') || kindOf(subject) === 'Namespace') &&
      isAtRisk(subject)
        ? [`${subject.name} could be deleted with the data of NATS, and no forkyard:protectData: false allows it`]
        : [],
  },
]
