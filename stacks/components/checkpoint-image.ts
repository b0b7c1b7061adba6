import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { toolPath } from '../../scripts/setup/paths.ts'
import { toolVersions } from '../../scripts/setup/tool-table.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import { resultOf } from '../host.ts'
import type { Site } from '../site.ts'
import type { RuntimeImage } from './runtime-image.ts'

/** The runtime, booted once and saved after its own initialisation. Keyed by image, runsc version and CPU features. */
export class CheckpointImage extends pulumi.ComponentResource {
  /** Directory in the cache. */
  readonly path: pulumi.Output<string>
  readonly key: pulumi.Output<string>

  /** @param inputsDigest of the checkpoint builder itself. */
  constructor(
    site: Site,
    runtime: RuntimeName,
    image: RuntimeImage,
    inputsDigest: pulumi.Input<string>,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super('forkyard:index:CheckpointImage', runtime, {}, options)
    const { cacheDir } = site.config
    const save = site.host.run(
      `${runtime}-checkpoint`,
      {
        script: join(site.repoRoot, 'images', 'checkpoint.ts'),
        create: ['--runtime', runtime, '--out', join(cacheDir, 'checkpoints')],
        input: { image: image.path, runsc: toolPath('runsc', cacheDir) },
        triggers: [image.digest, toolVersions.runsc, inputsDigest],
      },
      { parent: this },
    )
    const result = resultOf<{ checkpointPath: string; key: string }>(save)
    this.path = result.checkpointPath
    this.key = result.key
    this.registerOutputs({ path: this.path, key: this.key })
  }
}
