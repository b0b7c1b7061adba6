/** Rules for the commands that make an installation on this machine and on hosts over SSH. */
import type { Rule, Subject } from './rules.ts'

/** What the host scripts and those of `stacks/ssh` read; of each command only a part is there. */
interface CommandInput {
  /** Of a command over SSH. */
  readonly connection?: { readonly hostKey?: string; readonly user?: string }
  /** Of a host script over SSH: what it would read here. */
  readonly input?: unknown
}

interface Spec {
  readonly name?: string
  readonly privileges?: string
  readonly user?: string
  readonly files?: readonly { readonly path: string; readonly content: string }[]
  readonly ports?: readonly { readonly port: number; readonly from: readonly string[] }[]
}

const isCommand = ({ type }: Subject): boolean => type === 'command:local:Command'

const inputOf = ({ props }: Subject): CommandInput => {
  const { stdin } = props as { stdin?: string }
  if (!stdin) return {}
  try {
    return JSON.parse(stdin) as CommandInput
  } catch {
    return {}
  }
}

/** Of the host script, wherever it runs. */
const specOf = (subject: Subject): { readonly spec: Spec; readonly overSsh: boolean } => {
  const input = inputOf(subject)
  return input.connection ? { spec: input.input ?? {}, overSsh: true } : { spec: input as Spec, overSsh: false }
}

/** The commands, which are not encrypted in the state and shown to everybody. */
const linesOf = ({ props }: Subject): string => {
  const { create, update, delete: remove, environment } = props as Readonly<Record<string, unknown>>
  return JSON.stringify([create, update, remove, environment])
}

const forCommands =
  (check: (subject: Subject) => string[]): Rule['check'] =>
  (subject) =>
    isCommand(subject) ? check(subject) : []

const hostKeyForm = /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/]+=*$/
const unverified = /StrictHostKeyChecking[= ]\\?"?(no|off|accept-new)|UserKnownHostsFile[= ]\\?"?\/dev\/null/i
const plainSecret =
  /-----BEGIN [A-Z ]*PRIVATE KEY-----|(password|passwd|token|secret)[a-z_-]*["']?\s*[=:]\s*["']?[^\s"',]{6,}/i

/** Somebody who may change the configuration has said so, or nobody has. */
export const isAtRisk = ({ isProtected, config }: Subject): boolean =>
  !isProtected && config['forkyard:protectData'] !== 'false'

const refused = ['::/0', '0.0.0.0/0', '0.0.0.0', '::']

export const commandRules: readonly Rule[] = [
  {
    name: 'host-keys-verified',
    description: 'A host is talked to only when it proves the key that the configuration says.',
    check: (subject) => {
      if (subject.type.startsWith('command:remote:'))
        return ['commands of this kind verify no host key: run it through SshHost']
      if (!isCommand(subject)) return []
      const { stdin } = subject.props as { stdin?: string }
      const { connection } = inputOf(subject)
      return [
        ...(connection && !hostKeyForm.test(connection.hostKey ?? '') ? ['its host has no host key'] : []),
        ...(unverified.test(`${linesOf(subject)}${stdin ?? ''}`) ? ['host keys are not verified'] : []),
      ]
    },
  },
  {
    name: 'no-secrets-in-commands',
    description: 'Commands and their environment are neither encrypted nor hidden: secrets go through stdin.',
    check: forCommands((subject) =>
      plainSecret.test(linesOf(subject)) ? ['a secret is in the command or in its environment'] : [],
    ),
  },
  {
    name: 'services-unprivileged',
    description:
      'The node agent alone keeps the rights of root; on hosts over SSH the others have a user of their own.',
    check: forCommands((subject) => {
      const { spec, overSsh } = specOf(subject)
      if (spec.privileges === undefined || spec.name === 'node-agent') return []
      if (spec.privileges !== 'none') return [`${spec.name} has privileges: ${spec.privileges}`]
      return overSsh && (!spec.user || spec.user === 'root') ? [`${spec.name} runs as root`] : []
    }),
  },
  {
    name: 'nats-closed',
    description: 'NATS asks for a password, and for TLS wherever it listens to more than this machine.',
    check: forCommands((subject) => {
      const file = specOf(subject).spec.files?.find(({ path }) => path.endsWith('/nats-server.conf'))
      return file ? natsProblems(file.content) : []
    }),
  },
  {
    name: 'firewall-closes',
    description: 'A firewall names ports, and for each the hosts that may connect.',
    check: forCommands((subject) => {
      if (!/ firewall /.test(` ${String((subject.props as { create?: string }).create)} `.replaceAll("'", '')))
        return []
      const { ports = [] } = specOf(subject).spec
      return ports.flatMap(({ port, from }) =>
        from.some((address) => refused.includes(address) || address.endsWith('/0'))
          ? [`port ${port} is open to everybody`]
          : [],
      )
    }),
  },
  {
    name: 'nats-data-protected',
    description:
      'What lasts is not protected from deletion only where the configuration says forkyard:protectData: false.',
    check: (subject) =>
      isCommand(subject) && specOf(subject).overSsh && specOf(subject).spec.name === 'nats' && isAtRisk(subject)
        ? ['the data of NATS could be deleted, and no forkyard:protectData: false allows it']
        : [],
  },
]

/** @param text of `nats-server.conf` */
export const natsProblems = (text: string): string[] => {
  const listen = /^listen: "?(.*):\d+"?$/m.exec(text)?.[1] ?? ''
  const here = ['127.0.0.1', '[::1]', 'localhost'].includes(listen)
  return [
    ...(/^authorization \{/m.test(text) && /password: "?[^"\s]/.test(text) ? [] : ['NATS asks nobody for a password']),
    ...(here || /^tls \{/m.test(text) ? [] : [`NATS listens on ${listen || 'every address'} without TLS`]),
  ]
}
