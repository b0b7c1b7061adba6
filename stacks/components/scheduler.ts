import * as pulumi from '@pulumi/pulumi'
import type { SchedulerConfig } from '../../services/scheduler/config.ts'
import type { Site } from '../site.ts'
import type { Credentials } from './credentials.ts'
import type { NatsAccess } from './nats-server.ts'
import { internalUrl, runNodeService } from './node-service.ts'

/** Answers placement requests. */
export class Scheduler extends pulumi.ComponentResource {
  readonly url: string

  constructor(site: Site, credentials: Credentials, nats: NatsAccess, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:Scheduler', site.name('scheduler'), {}, options)
    const { schedulerPort: port } = site.config
    const config = schedulerConfig(site, credentials, nats, site.name('scheduler'))
    // All requests wait for it, and it for a CPU (docs/decisions/0071).
    const service = { config, port, graceMs: 15_000, privileges: 'none', internal: true, first: true } as const
    runNodeService('scheduler', site, service, this, [...nats.dependencies])
    this.url = internalUrl(site, port)
    this.registerOutputs({ url: this.url })
  }
}

/** @param id see `SchedulerConfig` */
export const schedulerConfig = (
  site: Site,
  credentials: Credentials,
  nats: NatsAccess,
  id?: string,
): pulumi.Output<SchedulerConfig> =>
  pulumi
    .all([
      credentials.hops['gateway-scheduler'],
      credentials.hops['scheduler-node'],
      nats.configFor('scheduler'),
      site.exposure.tls,
      credentials.verifying,
    ])
    .apply(([internalToken, nodeToken, natsConfig, tls, verifyingKeys]) => ({
      listen: { host: site.exposure.address, port: site.config.schedulerPort },
      ...(id === undefined ? {} : { id }),
      internalToken,
      nodeToken,
      ...(tls ? { tls } : {}),
      nats: natsConfig,
      ...(site.config.joinFrom.length > 0 ? { verifyingKeys } : {}),
      nodeTimeoutMs: 5_000,
      pools: site.config.pools,
      logLevel: site.config.logLevel,
    }))
