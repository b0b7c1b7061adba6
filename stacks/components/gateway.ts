import { dirname, join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import type { GatewayConfig } from '../../services/gateway/config.ts'
import { functionUrlDomain } from '../config.ts'
import type { Site } from '../site.ts'
import type { Credentials } from './credentials.ts'
import type { NatsAccess } from './nats-server.ts'
import { installationAgentConfig } from './node-agent.ts'
import { internalUrl, runNodeService } from './node-service.ts'

export interface GatewayArgs {
  readonly credentials: Credentials
  readonly nats: NatsAccess
  readonly schedulerUrls: readonly string[]
  /** Absent: no machine can join. */
  readonly joining?: JoiningArgs | undefined
}

/** How machines join. */
export interface JoiningArgs {
  /** Of all gateways, as nodes reach them. */
  readonly callUrls: readonly string[]
  /** Of gateways and schedulers, as they reach nodes. */
  readonly controlAddresses: readonly string[]
}

/** Where every request enters: the Lambda API and function URLs. */
export class Gateway extends pulumi.ComponentResource {
  /** As clients reach it. */
  readonly url: string

  constructor(site: Site, args: GatewayArgs, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:Gateway', site.name('gateway'), {}, options)
    const { gatewayPort: port, publicUrl } = site.config
    const config = gatewayConfig(site, args)
    const service = {
      config,
      port,
      graceMs: 35_000,
      privileges: 'none',
      ownedPaths: [stagingDir(site)],
      // It empties the directory by removing it.
      writablePaths: [dirname(stagingDir(site))],
      internal: false,
    } as const
    const dependsOn = [options.dependsOn ?? []].flat() as pulumi.Resource[]
    runNodeService('gateway', site, service, this, [...args.nats.dependencies, ...dependsOn])
    this.url = publicUrl
    this.registerOutputs({ url: this.url })
  }
}

export const stagingDir = (site: Site): string => join(site.config.stateDir, 'gateway', 'staging')

const joiningConfig = (
  { config }: Site,
  credentials: Credentials,
  nats: NatsAccess,
  { callUrls, controlAddresses }: JoiningArgs,
) =>
  pulumi
    .all([credentials.issuerSeed, credentials.hops['scheduler-node'], nats.configFor('node-agent')])
    .apply(([seed, schedulerNodeToken, { user: _user, password: _password, ...asNodes }]) => ({
      installation: config.installation,
      urls: [...callUrls],
      schedulerNodeToken,
      issuerSeed: seed ?? '',
      nats: asNodes,
      controlAddresses: [...controlAddresses],
      agent: installationAgentConfig(config),
    }))

/** @param callUrl as nodes reach it. Limits stay at the defaults of `services/gateway/config.ts`. */
export const gatewayConfig = (
  site: Site,
  { credentials, nats, schedulerUrls, joining }: GatewayArgs,
  callUrl = internalUrl(site, site.config.callPort),
): pulumi.Output<Omit<GatewayConfig, 'limits' | 'asyncWorkers'>> => {
  const { gatewayPort, callPort, listenHost, publicUrl, region, tenant, logLevel } = site.config
  const { hops, accessKeyId, secretAccessKey, sealing, signing } = credentials
  return pulumi
    .output({
      internalToken: hops['gateway-scheduler'],
      nodeToken: hops['gateway-node'],
      callToken: hops['node-gateway'],
      accessKeyId,
      secretAccessKey,
      sealing,
      signing,
      natsConfig: nats.configFor('gateway'),
      tls: site.exposure.tls,
      joining: joining && joiningConfig(site, credentials, nats, joining),
    })
    .apply((known) => ({
      listen: { host: listenHost, port: gatewayPort },
      publicUrl,
      urlDomain: functionUrlDomain,
      region,
      schedulerUrls: [...schedulerUrls],
      internalToken: known.internalToken,
      nodeToken: known.nodeToken,
      ...(known.tls ? { internalCa: known.tls.ca } : {}),
      calls: {
        listen: { host: site.exposure.address, port: callPort },
        url: callUrl,
        token: known.callToken,
        ...(known.tls ? { tls: known.tls } : {}),
      },
      ...(known.joining ? { joining: known.joining } : {}),
      nats: known.natsConfig,
      accounts: [{ accessKeyId: known.accessKeyId, secretAccessKey: known.secretAccessKey, tenant }],
      sealing: known.sealing,
      signing: known.signing,
      adoptUnsigned: site.config.adoptUnsigned,
      stagingDir: stagingDir(site),
      pools: site.config.pools,
      logLevel,
    }))
}
