import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { issuerKey } from '../../services/chassis/nats-issuer.ts'
import type { NatsConfig } from '../../services/chassis/nats.ts'
import { urlHost } from '../config.ts'
import type { Exposure, Site } from '../site.ts'
import type { Credentials, NatsUser } from './credentials.ts'
import { natsServerConfig } from './nats-config.ts'
import { SupervisedService } from './supervised-service.ts'

/** How services find NATS. */
export interface NatsAccess {
  /** What a service connects with. */
  configFor(name: NatsUser): pulumi.Output<NatsConfig>
  /**
   * What a service waits for before it starts. Nothing, where there are several servers: one that is down must not keep anybody from
   * being changed, and every service goes on trying until it is connected.
   */
  readonly dependencies: readonly pulumi.Resource[]
}

export interface NatsCluster {
  /** IP addresses of the other servers. */
  readonly others: readonly string[]
  readonly password: pulumi.Output<string>
}

/** Name in the certificates of all servers: clients connect to any of them. */
export const natsName = 'nats'

/** What everything shared lies in: registry, code, queues, records. One server, or one of a cluster. */
export class NatsServer extends pulumi.ComponentResource {
  constructor(
    site: Site,
    credentials: Credentials,
    cluster?: NatsCluster,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    // Its children are protected with it.
    super('forkyard:index:NatsServer', site.name('nats'), {}, { ...options, protect: site.config.protectData })
    const { natsPort, natsClusterPort, stateDir } = site.config
    const { address, tls } = site.exposure
    const storeDir = join(stateDir, 'nats')
    const dir = site.serviceDir('nats')
    const file = (name: string) => join(dir, name)
    const paths = { ca: file('ca.pem'), cert: file('cert.pem'), key: file('key.pem') }
    const serverName = `forkyard${site.host.prefix ? `-${site.host.prefix.slice(0, -1)}` : ''}`
    const content = pulumi
      .all([pulumi.output(credentials.natsPasswords), credentials.issuerSeed, cluster?.password])
      .apply(([passwords, issuerSeed, password = '']) =>
        natsServerConfig({
          serverName,
          address,
          port: natsPort,
          storeDir,
          passwords,
          ...(tls ? { tls: paths } : {}),
          issuer: issuerSeed === undefined ? undefined : issuerKey(issuerSeed),
          peers: cluster && { address, port: natsClusterPort, addresses: cluster.others, password },
        }),
      )
    const pem = (name: keyof typeof paths) =>
      tls ? [{ path: paths[name], content: tls.apply((files) => files[name]) }] : []
    new SupervisedService(
      'nats',
      site,
      {
        command: [site.programs.tool('nats-server'), '--config', file('nats-server.conf')],
        files: [{ path: file('nats-server.conf'), content }, ...pem('ca'), ...pem('cert'), ...pem('key')],
        ownedPaths: [storeDir, dir],
        writablePaths: [storeDir],
        ready: tls ? { tcpPort: natsPort, host: address } : { tcpPort: natsPort },
        graceMs: 15_000,
        privileges: 'none',
        notify: false,
      },
      { parent: this, dependsOn: options.dependsOn ?? [] },
    )
    this.registerOutputs({})
  }
}

/** @param servers where the servers are exposed @param dependencies see `NatsAccess` */
export const natsAccess = (
  credentials: Credentials,
  natsPort: number,
  servers: readonly Exposure[],
  dependencies: readonly pulumi.Resource[],
): NatsAccess => ({
  dependencies,
  configFor: (user) =>
    pulumi.all([credentials.natsPasswords[user], servers[0]?.tls]).apply(([password, tls]) => ({
      servers: servers.map(({ address }) => `${tls ? 'tls' : 'nats'}://${urlHost(address)}:${natsPort}`),
      user,
      password,
      replicas: servers.length,
      ...(tls ? { tls: { ca: tls.ca, name: natsName } } : {}),
    })),
})
