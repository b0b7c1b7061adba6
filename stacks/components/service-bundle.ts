import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { bundleService } from '../bundle.ts'
import type { Site } from '../site.ts'

/** A service's code on the host, in a directory named by its digest: the old one goes after the new one runs. */
export class ServiceBundle extends pulumi.ComponentResource {
  /** The file that Node.js runs. Known once it is in place. */
  readonly path: pulumi.Output<string>
  readonly digest: pulumi.Output<string>

  constructor(name: string, site: Site, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:ServiceBundle', name, {}, options)
    const bundle = pulumi.output(
      bundleService(join('services', name, 'main.ts'), site.repoRoot, site.config.cacheDir),
    )
    this.digest = bundle.digest
    const target = pulumi.interpolate`${site.config.stateDir}/services/${name}/${bundle.digest}/main.mjs`
    const installed = site.host.run(
      `${name}-code`,
      {
        script: site.script('file.ts'),
        create: ['put'],
        delete: ['remove'],
        input: { path: target, from: bundle.path },
        triggers: [bundle.digest],
      },
      { parent: this },
    )
    this.path = pulumi.all([target, installed.stdout]).apply(([path]) => path)
    this.registerOutputs({ path: this.path, digest: this.digest })
  }
}
