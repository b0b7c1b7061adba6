import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import type { NatsConfig } from '../../services/chassis/nats.ts'
import { toolPath } from '../../scripts/setup/paths.ts'
import type { Site } from '../site.ts'
import type { Credentials, NatsUser } from './credentials.ts'
import { SupervisedService } from './supervised-service.ts'

const user = (name: NatsUser, password: string): string =>
  `    { user: ${JSON.stringify(name)}, password: ${JSON.stringify(password)} }`

/** An acknowledged write is on disk (`sync_interval: always`). Loopback only; every service has its own password. */
export const natsServerConfig = (
  port: number,
  storeDir: string,
  passwords: Readonly<Record<NatsUser, string>>,
): string =>
  `server_name: forkyard
listen: 127.0.0.1:${port}
max_payload: 8MB
jetstream {
  store_dir: ${JSON.stringify(storeDir)}
  sync_interval: always
}
authorization {
  users = [
${Object.entries(passwords)
  .map(([name, password]) => user(name as NatsUser, password))
  .join('\n')}
  ]
}
`

/** What everything shared lies in: registry, code, queues, records. */
export class NatsServer extends pulumi.ComponentResource {
  readonly #url: string
  readonly #credentials: Credentials

  constructor(site: Site, credentials: Credentials, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:NatsServer', 'nats', {}, options)
    const { natsPort, stateDir, cacheDir } = site.config
    const storeDir = join(stateDir, 'nats')
    const configFile = join(site.serviceDir('nats'), 'nats-server.conf')
    new SupervisedService(
      'nats',
      site,
      {
        command: [toolPath('nats-server', cacheDir), '--config', configFile],
        files: [
          {
            path: configFile,
            content: pulumi
              .output(credentials.natsPasswords)
              .apply((passwords) => natsServerConfig(natsPort, storeDir, passwords)),
          },
        ],
        ownedPaths: [storeDir, site.serviceDir('nats')],
        ready: { tcpPort: natsPort },
        graceMs: 15_000,
        privileges: 'none',
      },
      { parent: this, dependsOn: options.dependsOn ?? [] },
    )
    this.#credentials = credentials
    this.#url = `nats://127.0.0.1:${natsPort}`
    this.registerOutputs({ url: this.#url })
  }

  /** What a service connects with. */
  configFor(name: NatsUser): pulumi.Output<NatsConfig> {
    const servers = [this.#url]
    return this.#credentials.natsPasswords[name].apply((password) => ({ servers, user: name, password, replicas: 1 }))
  }
}
