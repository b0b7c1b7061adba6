/**
 * The text of `nats-server.conf`. An acknowledged write is on disk (`sync_interval: always`); every service has its own password, and may
 * do what its role needs.
 */
import { natsPermissions, natsRoles, type NatsRole } from '../../services/contracts/nats-permissions.ts'

export interface NatsPeers {
  /** IP address on which this server listens for its peers. */
  readonly address: string
  readonly port: number
  /** Of the other servers. */
  readonly addresses: readonly string[]
  readonly password: string
}

/** Paths of PEM files. */
export interface NatsTls {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

export interface NatsServerSettings {
  readonly serverName: string
  /** IP address. */
  readonly address: string
  readonly port: number
  readonly storeDir: string
  readonly passwords: Readonly<Record<NatsRole, string>>
  /** For clients and peers. */
  readonly tls?: NatsTls
  /** For probes alone: health and figures, for whoever reaches it. Absent: none. */
  readonly monitorPort?: number
  /** Public key of the account whose word on other users counts, which gateways give. Absent: there are no other users. */
  readonly issuer?: string | undefined
  /** Absent: one server. */
  readonly peers?: NatsPeers | undefined
}

const text = JSON.stringify

const userBlock = (role: NatsRole, password: string): string =>
  `    { user: ${text(role)}, password: ${text(password)}, permissions: ${text(natsPermissions[role])} }`

const hostPort = (address: string, port: number): string =>
  `${address.includes(':') ? `[${address}]` : address}:${port}`

const tlsBlock = ({ ca, cert, key }: NatsTls, extra = ''): string =>
  `tls {\n  ca_file: ${text(ca)}\n  cert_file: ${text(cert)}\n  key_file: ${text(key)}\n${extra}}\n`

/** Users that are not of the services themselves. */
export const calloutBlock = (issuer: string): string =>
  `  auth_callout { issuer: ${issuer}, auth_users: [ ${natsRoles.map((role) => text(role)).join(', ')} ] }\n`

/** Peers prove themselves by certificate and by password. */
const clusterBlock = ({ address, port, addresses, password }: NatsPeers, tls: NatsTls | undefined): string => `cluster {
  name: forkyard
  listen: ${text(hostPort(address, port))}
  authorization { user: "peer", password: ${text(password)} }
  routes = [
${addresses.map((other) => `    ${text(`nats-route://peer:${password}@${hostPort(other, port)}`)}\n`).join('')}  ]
${tls ? tlsBlock(tls, '  verify: true\n') : ''}}
`

export const natsServerConfig = ({
  serverName,
  address,
  port,
  storeDir,
  passwords,
  tls,
  monitorPort,
  issuer,
  peers,
}: NatsServerSettings): string => `server_name: ${serverName}
listen: ${text(hostPort(address, port))}
${monitorPort === undefined ? '' : `http: ${text(hostPort(address, monitorPort))}\n`}max_payload: 8MB
jetstream {
  store_dir: ${text(storeDir)}
  sync_interval: always
}
authorization {
  users = [
${natsRoles.map((role) => userBlock(role, passwords[role])).join('\n')}
  ]
${issuer === undefined ? '' : calloutBlock(issuer)}}
${tls ? tlsBlock(tls) : ''}${peers ? clusterBlock(peers, tls) : ''}`
