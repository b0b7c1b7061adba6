import * as pulumi from '@pulumi/pulumi'
import type { ServiceSpec } from '../host-scripts/service-spec.ts'
import { movesWith, type Site } from '../site.ts'

export interface SupervisedServiceArgs {
  /** First word absolute. */
  readonly command: pulumi.Input<pulumi.Input<string>[]>
  /** Written for the service alone (0600) before it starts; a change restarts it. */
  readonly files: { readonly path: string; readonly content: pulumi.Input<string> }[]
  /** Removed with the service. */
  readonly ownedPaths: string[]
  /** What it writes to, where it is not root. */
  readonly writablePaths?: string[]
  readonly ready: pulumi.Input<ServiceSpec['ready']>
  /** Between TERM and KILL. */
  readonly graceMs: number
  readonly privileges: ServiceSpec['privileges']
  readonly first?: ServiceSpec['first']
  /** It notifies its supervisor (`services/chassis/notify.ts`). */
  readonly notify: boolean
}

/** A process that the host's supervisor keeps running. Exists once it is ready; an update restarts it if anything differs. */
export class SupervisedService extends pulumi.ComponentResource {
  constructor(name: string, site: Site, args: SupervisedServiceArgs, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:SupervisedService', site.name(name), {}, options)
    const { installation, stateDir, readyTimeoutMs } = site.config
    const { writablePaths = [], ...given } = args
    const identity = site.user && args.privileges === 'none' ? { user: site.user, writablePaths } : {}
    const moves = movesWith(site, { parent: this, dependsOn: options.dependsOn ?? [] })
    site.host.run(
      `${name}-process`,
      {
        script: 'service',
        create: ['ensure'],
        delete: ['remove'],
        input: { name, installation, stateDir, readyTimeoutMs, ...given, ...identity },
        triggers: moves.triggers,
        // While one is restarted, the others serve.
        turn: name,
      },
      moves.options,
    )
    this.registerOutputs({})
  }
}
