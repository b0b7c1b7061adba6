import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { movesWith, type Site } from '../site.ts'
import type { Credentials } from './credentials.ts'

/** What the CLI on this machine connects with (`services/cli/connection.ts`). Exists while the installation does. */
export class ClientFile extends pulumi.ComponentResource {
  readonly path: string

  constructor(site: Site, credentials: Credentials, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:ClientFile', 'client', {}, options)
    const { stateDir, publicUrl: endpoint, region } = site.config
    this.path = join(stateDir, 'client.json')
    const { accessKeyId, secretAccessKey } = credentials
    const content = pulumi.jsonStringify({ endpoint, region, accessKeyId, secretAccessKey }, undefined, 2)
    const moves = movesWith(site, { parent: this, dependsOn: options.dependsOn ?? [] })
    const command = { script: 'file', create: ['put'], delete: ['remove'], triggers: moves.triggers } as const
    site.host.run('client-file', { ...command, input: { path: this.path, content } }, moves.options)
    this.registerOutputs({ path: this.path })
  }
}
