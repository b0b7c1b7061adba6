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
    super('forkyard:index:ServiceBundle', site.name(name), {}, options)
    const entryPoint = join('services', name, 'main.ts')
    const bundle = pulumi.output(bundleService(entryPoint, site.repoRoot))
    this.digest = bundle.digest
    this.path = pulumi.interpolate`${site.serviceDir(name)}/${this.digest}/main.mjs`
    const code = { entryPoint, sha256: bundle.sha256, digest: this.digest, path: this.path }
    site.host.placeCode(`${name}-code`, code, { parent: this, dependsOn: options.dependsOn ?? [] })
    this.registerOutputs({ path: this.path, digest: this.digest })
  }
}
