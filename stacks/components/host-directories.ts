import * as pulumi from '@pulumi/pulumi'
import { movesWith, type Site } from '../site.ts'

/**
 * The installation's directories on the host. Everything else stands in them and so goes before them; then whatever a killed
 * service may have left goes too: processes, sandboxes, control groups, mounts, files.
 */
export class HostDirectories extends pulumi.ComponentResource {
  constructor(site: Site, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:HostDirectories', site.name('directories'), {}, options)
    const { installation, stateDir, runDir } = site.config
    const moves = movesWith(site, { parent: this })
    const input = { installation, stateDir, runDir }
    const { triggers } = moves
    site.host.run(
      'host-directories',
      { script: 'directories', create: ['prepare'], delete: ['remove'], input, triggers },
      moves.options,
    )
    this.registerOutputs({ stateDir, runDir })
  }
}
