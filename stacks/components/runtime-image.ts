import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import type { RuntimeName } from '../../services/contracts/function.ts'
import { resultOf } from '../host.ts'
import type { Site } from '../site.ts'

/** An EROFS image on some host. */
export interface ImageFile {
  readonly path: pulumi.Output<string>
  /** SHA-256, lower-case hex. */
  readonly digest: pulumi.Output<string>
}

/** The runtime's root file system as an EROFS image in the cache, named by its digest. Built only when its inputs change. */
export class RuntimeImage extends pulumi.ComponentResource implements ImageFile {
  readonly path: pulumi.Output<string>
  readonly digest: pulumi.Output<string>

  /** @param inputsDigest of all that goes into the image. */
  constructor(
    site: Site,
    runtime: RuntimeName,
    inputsDigest: pulumi.Input<string>,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super('forkyard:index:RuntimeImage', runtime, {}, options)
    const build = site.host.run(
      `${runtime}-image`,
      {
        script: 'image',
        create: ['--runtime', runtime, '--out', join(site.config.cacheDir, 'images')],
        triggers: [inputsDigest],
      },
      { parent: this },
    )
    const result = resultOf<{ imagePath: string; imageDigest: string }>(build)
    this.path = result.imagePath
    this.digest = result.imageDigest
    this.registerOutputs({ path: this.path, digest: this.digest })
  }
}
