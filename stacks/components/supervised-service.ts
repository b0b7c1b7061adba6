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
  readonly ready: ServiceSpec['ready']
  /** Between TERM and KILL. */
  readonly graceMs: number
  readonly privileges: ServiceSpec['privileges']
}

/** A process that the host's supervisor keeps running. Exists once it is ready; an update restarts it if anything differs. */
export class SupervisedService extends pulumi.ComponentResource {
  constructor(name: string, site: Site, args: SupervisedServiceArgs, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:SupervisedService', name, {}, options)
    const { installation, stateDir, readyTimeoutMs } = site.config
    const moves = movesWith(site, { parent: this, dependsOn: options.dependsOn ?? [] })
    site.host.run(
      `${name}-process`,
      {
        script: site.script('service.ts'),
        create: ['ensure'],
        delete: ['remove'],
        input: { name, installation, stateDir, readyTimeoutMs, ...args },
        triggers: moves.triggers,
      },
      moves.options,
    )
    this.registerOutputs({})
  }
}
