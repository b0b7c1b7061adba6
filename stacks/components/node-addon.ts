import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { addonDigest } from '../../services/node-agent/native/build.ts'
import { resultOf } from '../host.ts'
import type { Site } from '../site.ts'

/** The agent's native part, compiled for this machine's C library and whatever is newer. */
export class NodeAddon extends pulumi.ComponentResource {
  readonly path: pulumi.Output<string>

  constructor(site: Site, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:NodeAddon', 'node-agent-addon', {}, options)
    const command = {
      script: 'addon',
      create: ['--out', join(site.config.cacheDir, 'native')],
      triggers: [addonDigest()],
    } as const
    const build = site.host.run('node-agent-addon', { ...command, triggers: [...command.triggers] }, { parent: this })
    this.path = resultOf<{ addonPath: string }>(build).addonPath
    this.registerOutputs({ path: this.path })
  }
}
