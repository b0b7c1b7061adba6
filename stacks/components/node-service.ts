/** The part that gateway, scheduler and node agent share: a bundle, a configuration file, a Node.js process with `/readyz`. */
import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import type { ServiceSpec } from '../host-scripts/service-spec.ts'
import type { Site } from '../site.ts'
import { ServiceBundle } from './service-bundle.ts'
import { SupervisedService } from './supervised-service.ts'

export interface NodeServiceArgs<Config> {
  /** What `services/<name>/config.ts` describes. */
  readonly config: pulumi.Input<Config>
  readonly port: number
  readonly graceMs: number
  readonly privileges: ServiceSpec['privileges']
  readonly ownedPaths?: readonly string[]
}

/**
 * Children of `parent`. They wait for what `dependsOn` names, and whoever depends on `parent` waits for them: the order is said
 * with resources and not with outputs, so that a preview of one service's change shows that service alone.
 */
export const runNodeService = <Config>(
  name: 'gateway' | 'scheduler' | 'node-agent',
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
      command: [process.execPath, bundle.path, '--config', configFile],
      files: [{ path: configFile, content: pulumi.jsonStringify(args.config) }],
      ownedPaths: [configFile, ...(args.ownedPaths ?? [])],
      ready: { url: `http://127.0.0.1:${args.port}/readyz` },
      graceMs: args.graceMs,
      privileges: args.privileges,
    },
    { parent, dependsOn: [bundle, ...dependsOn] },
  )
}
