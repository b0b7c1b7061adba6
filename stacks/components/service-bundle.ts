import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { bundleService } from '../bundle.ts'
import type { Site } from '../site.ts'

/** A service's code on the host, in a directory named by its digest: the old one goes after the new one runs. */
export class ServiceBundle extends pulumi.ComponentResource {
  /** The file that Node.js runs. */
  readonly path: pulumi.Output<string>
  readonly digest: pulumi.Output<string>

  constructor(name: string, site: Site, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:ServiceBundle', name, {}, options)
    const { repoRoot: root } = site
    const entryPoint = join('services', name, 'main.ts')
    this.digest = pulumi.output(bundleService(entryPoint, root)).digest
    this.path = pulumi.interpolate`${site.serviceDir(name)}/${this.digest}/main.mjs`
    site.host.run(
      `${name}-code`,
      {
        script: site.script('service-code.ts'),
        create: ['put'],
        delete: ['remove'],
        input: { path: this.path, entryPoint, root, digest: this.digest },
        triggers: [this.path],
      },
      { parent: this, dependsOn: options.dependsOn ?? [] },
    )
    this.registerOutputs({ path: this.path, digest: this.digest })
  }
}
