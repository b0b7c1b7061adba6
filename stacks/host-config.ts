/** One machine of the target `metal`, as `forkyard:hosts` lists it, and what must hold among all of them. */
import { isIP } from 'node:net'
import { Type, type Static } from 'typebox'
import { poolPattern } from '../services/contracts/function.ts'
import { NodeLabels } from '../services/contracts/node.ts'
import { objectProblems } from './config-problem.ts'

export const roles = ['gateway', 'scheduler', 'node', 'nats'] as const
export type Role = (typeof roles)[number]

export const HostConfig = Type.Object(
  {
    name: Type.String({
      pattern: '^[a-z][a-z0-9-]{0,23}$',
      description: 'Unique; the id of its node and of its resources. Another name is another host',
    }),
    address: Type.String({
      pattern: '^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$',
      description: 'Where sshd is reached: name or IP address',
    }),
    port: Type.Integer({ minimum: 1, maximum: 65_535, default: 22, description: 'Port of sshd' }),
    user: Type.String({
      pattern: '^[a-z_][a-z0-9_.-]{0,31}$',
      default: 'root',
      description: 'User of SSH: root, or one whose sudo asks for no password',
    }),
    hostKey: Type.String({
      pattern: '^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+=*$',
      description: 'Its public key, type and base64, as in /etc/ssh/ssh_host_ed25519_key.pub. Any other is refused',
    }),
    privateKey: Type.Optional(
      Type.String({
        pattern: '^-----BEGIN [A-Z ]*PRIVATE KEY-----',
        description: 'Key for this host alone (PEM, a secret); default forkyard:sshPrivateKey',
      }),
    ),
    internalAddress: Type.Optional(
      Type.String({
        description: 'IP address at which the other hosts reach it. Default address, which is an IP address then',
      }),
    ),
    roles: Type.Array(Type.Enum(roles), {
      minItems: 1,
      uniqueItems: true,
      description: 'What runs on it (JSON array)',
    }),
    pool: Type.Optional(
      Type.String({
        pattern: poolPattern,
        description:
          'Of its node, one of forkyard:pools: which functions run on it. Nodes of a pool are alike to the scheduler. Default default',
      }),
    ),
    labels: Type.Optional({
      ...NodeLabels,
      type: 'object',
      description: 'Of its node, told with its reports (JSON object of text): zone, hardware, ...',
    }),
    memoryMiB: Type.Optional(
      Type.Integer({ minimum: 128, description: 'Of its node, instead of forkyard:nodeMemoryMiB' }),
    ),
    instances: Type.Optional(
      Type.Integer({ minimum: 1, description: 'Of its node, instead of forkyard:nodeInstances' }),
    ),
    cordoned: Type.Optional(
      Type.Boolean({
        description:
          'true: its node gets nothing new and keeps what it has, as after forkyard cordon; without it, it is uncordoned',
      }),
    ),
  },
  { additionalProperties: false },
)
export type HostConfig = Static<typeof HostConfig>

/** IP address for the other hosts. */
export const internalAddress = (host: HostConfig): string => host.internalAddress ?? host.address

/** Every value at fault by its own key, `forkyard:hosts[1].port`. @param hosts with their defaults. */
export const hostProblems = (key: string, hosts: readonly unknown[]): string[] =>
  // A private key is no text for a terminal.
  hosts.flatMap((host, index) => objectProblems(`${key}[${index}]`, HostConfig, host, ['privateKey']))

const duplicates = (values: readonly string[]): string[] =>
  values.filter((value, index) => values.indexOf(value) !== index)

/** What single values cannot tell. @param key as in `hostProblems` */
export const fleetProblems = (key: string, hosts: readonly HostConfig[]): string[] => {
  const having = (role: Role) => hosts.filter((host) => host.roles.includes(role)).length
  const twice = (what: string, values: readonly string[]) =>
    [...new Set(duplicates(values))].map((value) => `${key}: ${what} ${value} is there more than once`)
  return [
    ...twice(
      'the name',
      hosts.map(({ name }) => name),
    ),
    ...twice('the internal address', hosts.map(internalAddress)),
    ...hosts.flatMap((host, index) =>
      isIP(internalAddress(host)) > 0
        ? []
        : [
            `${key}[${index}].internalAddress: ${internalAddress(host)} is no IP address; one is needed between the hosts`,
          ],
    ),
    ...(['gateway', 'scheduler', 'node'] as const).flatMap((role) =>
      having(role) === 0 ? [`${key}: no host has the role ${role}`] : [],
    ),
    ...([1, 3].includes(having('nats')) ? [] : [`${key}: ${having('nats')} hosts have the role nats; expected 1 or 3`]),
    ...hosts.flatMap(({ cordoned, roles }, index) =>
      cordoned && !roles.includes('node') ? [`${key}[${index}].cordoned: no node runs on this host`] : [],
    ),
  ]
}
