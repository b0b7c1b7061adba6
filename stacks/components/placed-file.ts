import { extname, join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import type { Site } from '../site.ts'
import type { SshHost } from '../ssh/ssh-host.ts'
import type { ImageFile } from './runtime-image.ts'

export interface PlacedFileArgs {
  /** Of the thing on its host. */
  readonly name: string
  /** On this machine. */
  readonly source: pulumi.Output<string>
  /** SHA-256, lower-case hex. */
  readonly sha256: pulumi.Output<string>
  /** Below the state directory. */
  readonly directory: string
}

/** A file of this machine, sent to a host unless it has it, named by its digest. The old one goes after its users have moved on. */
export class PlacedFile extends pulumi.ComponentResource implements ImageFile {
  readonly path: pulumi.Output<string>
  readonly digest: pulumi.Output<string>

  constructor(site: Site, ssh: SshHost, args: PlacedFileArgs, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:PlacedFile', site.name(args.name), {}, options)
    const directory = join(site.config.stateDir, args.directory)
    this.digest = args.sha256
    this.path = pulumi
      .all([args.sha256, args.source])
      .apply(([sha256, source]) => join(directory, `${sha256}${extname(source)}`))
    const source = args.source.apply((file) => ({ file }))
    const files = [{ source, sha256: args.sha256, path: this.path }]
    ssh.place(args.name, { files, triggers: [this.path] }, { parent: this, dependsOn: options.dependsOn ?? [] })
    this.registerOutputs({})
  }
}
