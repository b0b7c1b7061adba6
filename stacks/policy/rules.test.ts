import { describe, expect, it } from 'vitest'
import { rules, type Subject } from './rules.ts'

const config = {}
const hostKey = 'ssh-ed25519 AAAAC3Nza'
const connection = { name: 'a', address: '10.0.0.1', hostKey }

const command = (stdin: object, more: object = {}, isProtected = false): Subject => ({
  type: 'command:local:Command',
  name: 'some-process',
  props: { create: "node '/tree/stacks/ssh/script.ts' 'ensure' 'service'", stdin: JSON.stringify(stdin), ...more },
  isProtected,
  config,
})
const service = (spec: object, over: object = { connection }) =>
  command({ ...over, input: { name: 'gateway', privileges: 'none', user: 'fy-x', files: [], ...spec } })
const nats = (content: string) =>
  command({ name: 'nats', privileges: 'none', files: [{ path: '/x/nats-server.conf', content }] })
const firewall = (from: string[]) =>
  command(
    { connection, input: { ports: [{ port: 9003, from }] } },
    { create: "node '/tree/stacks/ssh/script.ts' 'ensure' 'firewall' 'ensure'" },
  )

const digest = 'a'.repeat(64)
const rights = { runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } }
const container = (more: object = {}) => ({
  name: 'main',
  image: `r/x@sha256:${digest}`,
  securityContext: rights,
  ...more,
})
const workload = (kind: string, name: string, pod: object, isProtected = true): Subject => ({
  type: `kubernetes:apps/v1:${kind}`,
  name,
  props: { spec: { template: { spec: pod } } },
  isProtected,
  config,
})
const agent = (pod: object) => workload('DaemonSet', 'node-agent', pod)
const deployment = (pod: object) => workload('Deployment', 'gateway', pod)
const object = (type: string, name: string, props: object): Subject => ({
  type,
  name,
  props,
  isProtected: true,
  config,
})

const conf = 'listen: "10.0.0.1:9003"\nauthorization {\n  users = [ { user: "x", password: "y" } ]\n}\ntls {\n}\n'

/** Names of the rules that are broken. */
const broken = (subject: Subject): string[] =>
  rules.filter(({ check }) => check(subject).length > 0).map(({ name }) => name)

describe('nothing is said about', () => {
  it.each<[string, Subject]>([
    ['a service with a user of its own', service({})],
    ['the agent as root', service({ name: 'node-agent', privileges: 'root', user: undefined })],
    ['a service of this machine', command({ name: 'gateway', privileges: 'none', files: [] })],
    ['NATS with passwords and TLS', nats(conf)],
    ['NATS without TLS on this machine alone', nats(conf.replace('10.0.0.1', '127.0.0.1').replace('tls {\n}\n', ''))],
    ['a firewall', firewall(['10.0.0.2'])],
    ['a workload without rights', deployment({ containers: [container()] })],
    [
      'the privileged agent',
      agent({
        containers: [container({ securityContext: { privileged: true } })],
        volumes: [{ name: 's', hostPath: { path: '/var/lib/forkyard' } }],
      }),
    ],
    [
      'what the stack imports',
      deployment({ containers: [container({ image: `forkyard.invalid/i/gateway:sha256-${digest}` })] }),
    ],
    ['a headless service', object('kubernetes:core/v1:Service', 'nats', { spec: { clusterIP: 'None' } })],
    ['protected volumes', workload('StatefulSet', 'nats', { containers: [container()] })],
    [
      'volumes that the configuration gives up',
      { ...workload('StatefulSet', 'nats', {}, false), config: { 'forkyard:protectData': 'false' } },
    ],
  ])('%s', (_, subject) => {
    expect(broken(subject)).toEqual([])
  })
})

const refusals: [string, string, Subject][] = [
  ['host-keys-verified', 'a host without a key', service({}, { connection: { ...connection, hostKey: '' } })],
  [
    'host-keys-verified',
    'ssh that trusts anybody',
    command({ command: ['ssh', '-o', 'StrictHostKeyChecking=no', 'a'] }),
  ],
  ['host-keys-verified', 'a command of the kind that checks no key', object('command:remote:Command', 'x', {})],
  ['no-secrets-in-commands', 'a password in an argument', command({}, { create: 'x --password=hunter2222' })],
  [
    'no-secrets-in-commands',
    'a key in the environment',
    command({}, { environment: { KEY: '-----BEGIN OPENSSH PRIVATE KEY-----' } }),
  ],
  ['services-unprivileged', 'another service with the rights of root', service({ privileges: 'root' })],
  ['services-unprivileged', 'a service that runs as root', service({ user: undefined })],
  ['nats-closed', 'NATS without passwords', nats(conf.replace(/authorization[^}]*\}[^}]*\}/, ''))],
  ['nats-closed', 'NATS without TLS on a network', nats(conf.replace('tls {\n}\n', ''))],
  [
    'nats-closed',
    'NATS on every address without TLS',
    nats(conf.replace('10.0.0.1', '0.0.0.0').replace('tls {\n}\n', '')),
  ],
  ['firewall-closes', 'a port that is open to everybody', firewall(['10.0.0.2', '0.0.0.0/0'])],
  ['firewall-closes', 'and with IPv6', firewall(['::/0'])],
  ['nats-data-protected', 'NATS on a host, not protected', service({ name: 'nats' })],
  [
    'only-agents-privileged',
    'another privileged workload',
    deployment({ containers: [container({ securityContext: { ...rights, privileged: true } })] }),
  ],
  [
    'only-agents-privileged',
    'another privileged DaemonSet',
    workload('DaemonSet', 'other', { containers: [container({ securityContext: { ...rights, privileged: true } })] }),
  ],
  [
    'only-agents-privileged',
    'a workload as root',
    deployment({ containers: [container({ securityContext: { ...rights, runAsNonRoot: false } })] }),
  ],
  [
    'only-agents-privileged',
    'a first container that adds capabilities',
    deployment({
      initContainers: [
        container({ securityContext: { ...rights, capabilities: { drop: ['ALL'], add: ['SYS_ADMIN'] } } }),
      ],
    }),
  ],
  [
    'only-agents-privileged',
    'a directory of the node',
    deployment({ containers: [container()], volumes: [{ name: 'h', hostPath: { path: '/run' } }] }),
  ],
  ['only-agents-privileged', 'the network of the node', deployment({ containers: [container()], hostNetwork: true })],
  [
    'agents-apart-from-the-node',
    'an agent with the processes of its node',
    agent({ containers: [container()], hostPID: true }),
  ],
  [
    'agents-apart-from-the-node',
    'an agent with the file system of its node',
    agent({ containers: [container()], volumes: [{ name: 'h', hostPath: { path: '/' } }] }),
  ],
  ['images-by-digest', 'an image by tag', deployment({ containers: [container({ image: 'r/x:latest' })] })],
  [
    'nats-private',
    'NATS behind a load balancer',
    object('kubernetes:core/v1:Service', 'nats', { spec: { type: 'LoadBalancer' } }),
  ],
  [
    'nats-closed-in-the-cluster',
    'NATS without TLS',
    object('kubernetes:core/v1:Secret', 'nats', { stringData: { 'nats-server.conf': conf.replace('tls {\n}\n', '') } }),
  ],
  [
    'no-secrets-in-the-clear',
    'a secret as a variable',
    deployment({ containers: [container({ env: [{ name: 'API_TOKEN', value: 'x' }] })] }),
  ],
  [
    'no-secrets-in-the-clear',
    'a secret in a ConfigMap',
    object('kubernetes:core/v1:ConfigMap', 'c', { data: { password: 'x' } }),
  ],
  [
    'nats-volumes-protected',
    'volumes of NATS that anybody may delete',
    workload('StatefulSet', 'nats', { containers: [container()] }, false),
  ],
]

describe('refused is', () => {
  it.each(refusals)('%s: %s', (rule, _, subject) => {
    expect(broken(subject)).toEqual([rule])
  })
})

it('every rule refuses something above', () => {
  expect(new Set(refusals.map(([rule]) => rule))).toEqual(new Set(rules.map(({ name }) => name)))
})
