import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { toolVersions } from '../../scripts/setup/tool-table.ts'
import type { RuntimeName } from '../../services/contracts/function.ts'
import { resultOf } from '../host.ts'
import type { Site } from '../site.ts'
import type { ImageFile } from './runtime-image.ts'

export interface CheckpointArgs {
  readonly runtime: RuntimeName
  /** On the site's host. */
  readonly image: ImageFile
  /** Of the checkpoint builder itself. */
  readonly inputsDigest: string
  /** Directory of all checkpoints. */
  readonly outDir: string
  /** Of the agent, where no compiler is. */
  readonly addon?: pulumi.Output<string>
}

/** The runtime, booted once and saved after its own initialisation. Keyed by image, runsc version and CPU features. */
export class CheckpointImage extends pulumi.ComponentResource {
  /** Directory on the host. */
  readonly path: pulumi.Output<string>
  readonly key: pulumi.Output<string>

  constructor(site: Site, args: CheckpointArgs, options: pulumi.ComponentResourceOptions = {}) {
    const { runtime, image, inputsDigest, outDir, addon } = args
    super('forkyard:index:CheckpointImage', site.name(runtime), {}, options)
    const prebuilt = addon && { addon, inputsDigest }
    const save = site.host.run(
      `${runtime}-checkpoint`,
      {
        script: 'checkpoint',
        create: ['--runtime', runtime, '--out', outDir],
        input: { image: image.path, runsc: site.programs.tool('runsc'), ...(prebuilt ? { prebuilt } : {}) },
        triggers: [image.digest, toolVersions.runsc, inputsDigest],
      },
      { parent: this, dependsOn: options.dependsOn ?? [] },
    )
    const result = resultOf<{ checkpointPath: string; key: string }>(save)
    this.path = result.checkpointPath
    this.key = result.key
    this.registerOutputs({ path: this.path, key: this.key })
  }
}

/** Below the cache: checkpoints are found again by the next installation. */
export const cachedCheckpoints = (cacheDir: string): string => join(cacheDir, 'checkpoints')
