/** How a host is reached, and by which key it is known. */
import { Type, type Static } from 'typebox'
import { shellQuote } from '../shell-quote.ts'

export const Connection = Type.Object(
  {
    /** Of the host in the stack's configuration. */
    name: Type.String(),
    address: Type.String(),
    port: Type.Integer(),
    user: Type.String(),
    /** Type and base64; a host with any other key is not talked to. */
    hostKey: Type.String(),
    /** PEM. Absent: the agent at `$SSH_AUTH_SOCK`. */
    privateKey: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type Connection = Static<typeof Connection>

/** Words of one command, run by root, as the one string that sshd gives to the user's shell. */
export const rootCommand = (user: string, words: readonly string[]): string =>
  [...(user === 'root' ? [] : ['sudo', '-n', '--']), ...words].map(shellQuote).join(' ')

/** The host key's algorithms: sshd must prove that very key, not another of its own. */
const hostKeyAlgorithms = (hostKey: string): string => {
  const [type = ''] = hostKey.split(' ')
  return type === 'ssh-rsa' ? 'rsa-sha2-512,rsa-sha2-256' : type
}

export interface SessionFiles {
  readonly knownHosts: string
  readonly control: string
  /** Socket of an agent with the key. */
  readonly agent: string
}

/** The one line of the known-hosts file. */
export const knownHostsLine = ({ name, hostKey }: Connection): string => `${name} ${hostKey}\n`

/** Nothing of the user's or the machine's SSH configuration counts: neither its keys, nor its hosts, nor its jumps. */
export const sshOptions = (connection: Connection, files: SessionFiles): string[] => {
  const settings = {
    BatchMode: 'yes',
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: files.knownHosts,
    GlobalKnownHostsFile: '/dev/null',
    HostKeyAlias: connection.name,
    HostKeyAlgorithms: hostKeyAlgorithms(connection.hostKey),
    CheckHostIP: 'no',
    UpdateHostKeys: 'no',
    VerifyHostKeyDNS: 'no',
    PreferredAuthentications: 'publickey',
    IdentityFile: 'none',
    IdentityAgent: files.agent,
    ForwardAgent: 'no',
    ClearAllForwardings: 'yes',
    ConnectTimeout: '10',
    ServerAliveInterval: '10',
    ServerAliveCountMax: '6',
    ControlPath: files.control,
    LogLevel: 'ERROR',
  }
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])
  return ['-F', 'none', '-T', ...options, '-p', String(connection.port), '-l', connection.user]
}
