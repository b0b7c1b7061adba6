import * as pulumi from '@pulumi/pulumi'
import type { SchedulerConfig } from '../../services/scheduler/config.ts'
import type { Site } from '../site.ts'
import type { Credentials } from './credentials.ts'
import type { NatsServer } from './nats-server.ts'
import { runNodeService } from './node-service.ts'

/** Answers placement requests. */
export class Scheduler extends pulumi.ComponentResource {
  readonly url: string

  constructor(site: Site, credentials: Credentials, nats: NatsServer, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:Scheduler', 'scheduler', {}, options)
    const { schedulerPort: port, logLevel } = site.config
    const config = pulumi
      .all([credentials.internalToken, nats.configFor('scheduler')])
      .apply(([internalToken, natsConfig]): SchedulerConfig => ({
        listen: { host: '127.0.0.1', port },
        internalToken,
        nats: natsConfig,
        nodeTimeoutMs: 5_000,
        logLevel,
      }))
    runNodeService('scheduler', site, { config, port, graceMs: 15_000, privileges: 'none' }, this, [nats])
    this.url = `http://127.0.0.1:${port}`
    this.registerOutputs({ url: this.url })
  }
}
