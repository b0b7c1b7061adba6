/**
 * The only reader of stack config. Each key with its unit, default and meaning; whatever does not fit ends the program with an
 * error that names the key and what is valid.
 */
import { totalmem } from 'node:os'
import { isAbsolute } from 'node:path'
import { Type, type Static, type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { cacheModes } from '../services/node-agent/node-scheduler/cache/input.ts'
import { runtimeNames } from '../services/contracts/function.ts'
import { ResourcePool } from '../services/contracts/resource-pool.ts'
import { describeProblem } from './config-problem.ts'
import { joinFromProblems } from './join-from.ts'
import { fleetProblems, HostConfig, hostProblems, internalAddress } from './host-config.ts'
import { poolProblems, unknownPools } from './pool-problems.ts'
import { clusterUrl, KubernetesConfig, kubernetesProblems } from './kubernetes/config.ts'

const port = (value: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: 65_535, default: value, description })

const path = (description: string, maxLength = 4096) =>
  Type.String({ pattern: '^/[A-Za-z0-9._/-]+$', maxLength, description })

export const targets = ['local', 'metal', 'kubernetes'] as const

export const StackConfig = Type.Object(
  {
    target: Type.Enum(targets, {
      default: 'local',
      description:
        'Where the installation is: this machine; the machines of forkyard:hosts, over SSH; the cluster of forkyard:kubernetes',
    }),
    hosts: Type.Array(HostConfig, {
      default: [],
      description: 'Machines of the target metal (JSON array; stacks/host-config.ts has the keys of one)',
    }),
    kubernetes: KubernetesConfig,
    sshPrivateKey: Type.Optional(
      Type.String({
        pattern: '^-----BEGIN [A-Z ]*PRIVATE KEY-----',
        description:
          'Key for every host that has none of its own (PEM, a secret). Default: the agent at $SSH_AUTH_SOCK',
      }),
    ),
    firewall: Type.Boolean({
      default: true,
      description:
        'metal: the ports of NATS, schedulers and nodes are open to the hosts that need them alone (nftables)',
    }),
    joinFrom: Type.Array(Type.String(), {
      default: [],
      description:
        'metal: prefixes of the addresses from which machines may join as nodes by a token (JSON array, 10.0.0.0/8); none: no machine joins',
    }),
    certificateDays: Type.Integer({
      minimum: 2,
      maximum: 3650,
      default: 365,
      description: 'metal, kubernetes: validity of the certificates, days; an up in the last third makes new ones',
    }),
    protectData: Type.Boolean({
      description:
        'The data of NATS is not deleted, neither by destroy nor with its host. Default false; metal, kubernetes: true',
    }),
    installation: Type.String({
      pattern: '^[a-z][a-z0-9-]{0,23}$',
      description: 'Name of the installation, unique on the machine; control groups and units are named by it',
    }),
    stateDir: path('What lasts: configuration, NATS data, logs. Default /var/lib/forkyard/<installation>'),
    // Socket paths end at 107 bytes; the node agent needs the rest.
    runDir: path('Sockets and sandboxes, on a tmpfs. Default /run/forkyard/<installation>', 50),
    cacheDir: path(
      'Tools and images. Default $FORKYARD_CACHE, else $XDG_CACHE_HOME/forkyard, else $HOME/.cache/forkyard',
    ),
    listenHost: Type.String({
      description:
        'Address on which the gateway listens. Default 127.0.0.1; metal, kubernetes: all addresses of its host or pod',
    }),
    gatewayPort: port(9000, 'Port of the Lambda API and of function URLs'),
    schedulerPort: port(9001, 'Port of the scheduler; local: on loopback alone'),
    nodeAgentPort: port(9002, 'Port of the node agent; local: on loopback alone'),
    natsPort: port(9003, 'Port of NATS; local: on loopback alone'),
    callPort: port(9005, 'Port of gateways for calls between functions; local: on loopback alone'),
    natsClusterPort: port(9004, 'metal, kubernetes: port between the servers of NATS'),
    peerPort: port(9006, 'metal, kubernetes: port of node agents for each other, to copy the code of functions'),
    publicUrl: Type.String({
      pattern: '^https?://',
      description:
        'As clients reach the gateway. Default http://<listenHost, or address of the first gateway>:<gatewayPort>',
    }),
    region: Type.String({
      pattern: '^[a-z0-9-]{1,32}$',
      default: 'us-east-1',
      description: 'Region in ARNs and signatures',
    }),
    tenant: Type.String({
      pattern: '^[A-Za-z0-9-_]{1,64}$',
      default: 'default',
      description: 'Tenant of the generated access key',
    }),
    sealingGeneration: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 1,
      description:
        'Secrets in the store are sealed, and its entries signed, with the keys of this generation; one more at a time makes a new key (docs/operations.md)',
    }),
    adoptUnsigned: Type.Boolean({
      default: false,
      description:
        'true: functions, network policies and bindings in the store without a signature are taken for good, and signed; for the first up from a version that did not sign them',
    }),
    runtimes: Type.Array(Type.Enum(runtimeNames), {
      minItems: 1,
      uniqueItems: true,
      default: [...runtimeNames],
      description: 'Runtimes that the node offers (JSON array)',
    }),
    checkpoints: Type.Boolean({ default: true, description: 'false: every start is a boot' }),
    versionCheckpoints: Type.Boolean({
      default: true,
      description: 'Functions are saved once they are initialised, and started from that; needs checkpoints',
    }),
    versionCheckpointsMiB: Type.Integer({
      minimum: 0,
      default: 4096,
      description: 'Disk for the checkpoints of functions, per node, MiB; each takes 20 to 100',
    }),
    codeImagesMiB: Type.Integer({
      minimum: 0,
      default: 4096,
      description:
        'Disk for the code of functions, per node, MiB; beyond it goes what was not used for the longest, at least ten minutes',
    }),
    prefetch: Type.Boolean({
      default: true,
      description: 'Nodes fetch the code of a function when it is deployed, as far as that disk goes',
    }),
    nodeMemoryMiB: Type.Optional(
      Type.Integer({
        minimum: 128,
        description: 'Sum of the memory of all instances of a node, MiB. Default 60 % of its machine',
      }),
    ),
    nodeInstances: Type.Integer({ minimum: 1, default: 256, description: 'Instances at the same time' }),
    pools: Type.Array(ResourcePool, {
      default: [],
      description:
        'Pools of nodes: which functions each is for, shares, limits, reserved capacity (JSON array; services/contracts/resource-pool.ts has the keys of one)',
    }),
    startParallelism: Type.Integer({ minimum: 1, maximum: 64, default: 2, description: 'Starts at the same time' }),
    cache: Type.Enum(cacheModes, {
      default: 'adaptive',
      description:
        'What is held for requests to come: adaptive, what each function’s history makes worth its memory; strict-cold, nothing',
    }),
    cacheMemoryMiB: Type.Optional(
      Type.Integer({ minimum: 0, description: 'Memory for that, MiB. Default a quarter of nodeMemoryMiB' }),
    ),
    forks: Type.Boolean({
      default: false,
      description: 'true: functions that say nothing about it may be forked; forks of one share a sandbox',
    }),
    precreatedSandboxes: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 64,
        description:
          'A number in place of a decision: sandboxes created ahead, per runtime; each holds about 15 MiB and saves a third of a start',
      }),
    ),
    parkedRestores: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 64,
        description:
          'The same: bare runtimes restored ahead, per runtime; each holds about 45 MiB and saves most of a start',
      }),
    ),
    seeds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 256,
        description:
          'The same: functions called lately of which a seed is kept, to be forked; each holds about 60 MiB. Allows forks',
      }),
    ),
    parkedForks: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 32,
        description: 'The same: forks made ahead, per seed; each saves nearly all of a start',
      }),
    ),
    networkNever: Type.Array(Type.String({ pattern: '^[0-9a-fA-F:.]+(/[0-9]{1,3})?$' }), {
      default: [],
      description:
        'Addresses and prefixes that no network policy of a function opens (JSON array), besides those of docs/network.md',
    }),
    networkResolvers: Type.Optional(
      Type.Array(Type.String({ pattern: '^[0-9a-fA-F:.[\\]]+$' }), {
        minItems: 1,
        maxItems: 8,
        description:
          'Name servers for the questions of functions (JSON array), 192.0.2.1 or [2001:db8::1]:5353. Default those of each node',
      }),
    ),
    readyTimeoutMs: Type.Integer({
      minimum: 1000,
      description: 'How long a service may take to become ready, ms. Default 60000; metal, kubernetes: 180000',
    }),
    logLevel: Type.Enum(['trace', 'debug', 'info', 'warn', 'error'] as const, {
      default: 'info',
      description: 'Of every service',
    }),
  },
  { additionalProperties: false },
)
export type StackConfig = Static<typeof StackConfig>

/** The gateway's own default (`services/gateway/config.ts`); browsers and curl resolve it to this machine. */
export const functionUrlDomain = 'lambda-url.localhost'

/** The message lists every key at fault, one a line. */
export class StackConfigError extends Error {
  override readonly name = 'StackConfigError'
}

export interface Surroundings {
  readonly stack: string
  readonly cacheDir: string
  readonly memoryMiB: number
}

const namespace = 'forkyard:'

/**
 * @param raw all config of the stack by full key (`forkyard:gatewayPort`); values as Pulumi holds them, as text. Keys of other
 *   namespaces are ignored.
 */
export const parseStackConfig = (raw: Readonly<Record<string, string>>, around: Surroundings): StackConfig => {
  const problems: string[] = []
  const given: Record<string, unknown> = {}
  for (const [fullKey, text] of Object.entries(raw)) {
    if (!fullKey.startsWith(namespace)) continue
    const key = fullKey.slice(namespace.length)
    const schema = schemaOf(key)
    if (schema) given[key] = fromText(schema, text)
    else problems.push(`${fullKey}: unknown key. Valid keys: ${Object.keys(StackConfig.properties).join(', ')}`)
  }
  const value = withDefaults(given, around)
  for (const [key, schema] of Object.entries<TSchema>(StackConfig.properties)) {
    if (value[key] === undefined && Type.IsOptional(schema)) continue
    if (key === 'hosts' && Array.isArray(value[key])) problems.push(...hostProblems(`${namespace}${key}`, value[key]))
    else if (key === 'pools') problems.push(...poolProblems(`${namespace}${key}`, value[key]))
    else if (key === 'joinFrom') problems.push(...joinFromProblems(`${namespace}${key}`, value[key]))
    else if (key === 'kubernetes') {
      if (value['target'] === 'kubernetes') problems.push(...kubernetesProblems(`${namespace}${key}`, value[key]))
    } else if (!Value.Check(schema, value[key]))
      problems.push(describeProblem(`${namespace}${key}`, schema, key === 'sshPrivateKey' ? 'the value' : value[key]))
  }
  if (problems.length === 0) problems.push(...portsUsedTwice(value), ...targetProblems(value as StackConfig))
  if (problems.length > 0) throw new StackConfigError(`stack config is not valid\n  ${problems.join('\n  ')}`)
  return value as StackConfig
}

const schemaOf = (key: string): TSchema | undefined =>
  Object.hasOwn(StackConfig.properties, key)
    ? (StackConfig.properties as Readonly<Record<string, TSchema>>)[key]
    : undefined

/** Text of a key that is not text is JSON; what is no JSON stays text, and the check says what was expected. */
const fromText = (schema: TSchema, text: string): unknown => {
  if (Reflect.get(schema, 'type') === 'string' || Reflect.has(schema, 'enum')) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const withDefaults = (given: Readonly<Record<string, unknown>>, around: Surroundings): Record<string, unknown> => {
  const value = Value.Default(StackConfig, {
    installation: around.stack,
    cacheDir: around.cacheDir,
    ...given,
  }) as Record<string, unknown>
  const byTarget =
    value['target'] === 'metal' || value['target'] === 'kubernetes'
      ? { listenHost: '0.0.0.0', readyTimeoutMs: 180_000, protectData: true }
      : {
          listenHost: '127.0.0.1',
          readyTimeoutMs: 60_000,
          protectData: false,
          nodeMemoryMiB: shareOfMemory(around.memoryMiB),
        }
  const merged: Record<string, unknown> = {
    stateDir: `/var/lib/forkyard/${String(value['installation'])}`,
    runDir: `/run/forkyard/${String(value['installation'])}`,
    ...byTarget,
    ...value,
  }
  return { publicUrl: defaultUrl(merged), ...merged }
}

const defaultUrl = (merged: Readonly<Record<string, unknown>>): string => {
  const { target, installation, kubernetes, gatewayPort } = merged
  if (target === 'kubernetes' && kubernetesProblems('', kubernetes).length === 0)
    return clusterUrl(String(installation), kubernetes as KubernetesConfig, Number(gatewayPort))
  return `http://${reachableHost(merged)}:${String(gatewayPort)}`
}

/** What a node may lend of its machine's memory: 60 %, in steps of 256 MiB. */
export const shareOfMemory = (memoryMiB: number): number => Math.max(128, Math.floor((memoryMiB * 0.6) / 256) * 256)

/** For URLs. Hosts that do not fit are reported by the check of their own key. */
const reachableHost = ({ target, listenHost, hosts }: Readonly<Record<string, unknown>>): string => {
  if (target !== 'metal' || !Array.isArray(hosts) || hostProblems('', hosts).length > 0) return String(listenHost)
  const gateway = (hosts as HostConfig[]).find(({ roles }) => roles.includes('gateway'))
  return gateway ? urlHost(internalAddress(gateway)) : String(listenHost)
}

/** Pure: an IPv6 address in a URL stands in brackets. */
export const urlHost = (address: string): string => (address.includes(':') ? `[${address}]` : address)

const targetProblems = (config: StackConfig): string[] => {
  const { target, hosts, pools } = config
  const key = `${namespace}hosts`
  if (target === 'metal') return [...fleetProblems(key, hosts), ...unknownPools(key, hosts, pools)]
  return (['hosts', 'joinFrom'] as const)
    .filter((name) => config[name].length > 0)
    .map((name) => `${namespace}${name}: is for ${namespace}target metal alone; the target is ${target}`)
}

const portsUsedTwice = (value: Readonly<Record<string, unknown>>): string[] => {
  const local = ['gatewayPort', 'schedulerPort', 'nodeAgentPort', 'natsPort', 'callPort'] as const
  const ports = value['target'] === 'local' ? local : [...local, 'natsClusterPort', 'peerPort']
  return ports.flatMap((key, index) => {
    const other = ports.slice(0, index).find((before) => value[before] === value[key])
    return other ? [`${namespace}${key}: ${String(value[key])} is the port of ${namespace}${other} already`] : []
  })
}

export const surroundings = (stack: string, cacheDir: string): Surroundings => {
  if (!isAbsolute(cacheDir)) throw new StackConfigError(`cache directory ${cacheDir} is not absolute`)
  return { stack, cacheDir, memoryMiB: Math.floor(totalmem() / 1024 ** 2) }
}
