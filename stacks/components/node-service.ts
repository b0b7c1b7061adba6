/** The part that gateway, scheduler and node agent share: a bundle, a configuration file, a Node.js process with `/readyz`. */
import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { urlHost } from '../config.ts'
import type { ServiceSpec } from '../host-scripts/service-spec.ts'
import type { Site } from '../site.ts'
import { ServiceBundle } from './service-bundle.ts'
import { SupervisedService } from './supervised-service.ts'

export type NodeServiceName = 'gateway' | 'scheduler' | 'node-agent'

export interface NodeServiceArgs<Config> {
  /** What `services/<name>/config.ts` describes. */
  readonly config: pulumi.Input<Config>
  readonly port: number
  readonly graceMs: number
  readonly privileges: ServiceSpec['privileges']
  readonly first?: boolean
  readonly ownedPaths?: readonly string[]
  /** See `SupervisedServiceArgs`. */
  readonly writablePaths?: readonly string[]
  /** It is reached from elsewhere: over TLS, where the site has that. */
  readonly internal: boolean
}

/**
 * Children of `parent`. They wait for what `dependsOn` names, and whoever depends on `parent` waits for them: the order is said
 * with resources and not with outputs, so that a preview of one service's change shows that service alone.
 */
export const runNodeService = <Config>(
  name: NodeServiceName,
  site: Site,
  args: NodeServiceArgs<Config>,
  parent: pulumi.Resource,
  dependsOn: pulumi.Resource[],
): void => {
  const bundle = new ServiceBundle(name, site, { parent, dependsOn })
  const configFile = join(site.serviceDir(name), 'config.json')
  new SupervisedService(
    name,
    site,
    {
      command: [site.programs.node, bundle.path, '--config', configFile],
      files: [{ path: configFile, content: pulumi.jsonStringify(args.config) }],
      ownedPaths: [configFile, ...(args.ownedPaths ?? [])],
      writablePaths: [...(args.writablePaths ?? [])],
      ready: args.internal ? readyInside(name, site, args.port) : readyOutside(site, args.port),
      graceMs: args.graceMs,
      privileges: args.privileges,
      ...(args.first ? { first: true } : {}),
      notify: true,
    },
    { parent, dependsOn: [bundle, ...dependsOn] },
  )
}

/** As the other services reach it. The certificate's name is the service's. */
export const internalUrl = (site: Site, port: number): string =>
  `${site.exposure.tls ? 'https' : 'http'}://${urlHost(site.exposure.address)}:${port}`

/** Where clients reach it, seen from its own host. */
const readyOutside = ({ config: { listenHost } }: Site, port: number): ServiceSpec['ready'] => {
  const host = ['0.0.0.0', '::'].includes(listenHost) ? '127.0.0.1' : urlHost(listenHost)
  return { url: `http://${host}:${port}/readyz` }
}

const readyInside = (name: NodeServiceName, site: Site, port: number): pulumi.Input<ServiceSpec['ready']> => {
  const url = `${internalUrl(site, port)}/readyz`
  // The authority's certificate is no secret, though it comes with one.
  return site.exposure.tls ? pulumi.output(site.exposure.tls).apply(({ ca }) => ({ url, tls: { ca, name } })) : { url }
}
