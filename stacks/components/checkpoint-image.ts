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

/**
 * The runtime, booted once and saved after its own initialisation. Keyed by image, runsc version and CPU features. The agent takes the one with
 * the digest that its maker told, which comes to it with its configuration.
 */
export class CheckpointImage extends pulumi.ComponentResource {
  /** Directory on the host. */
  readonly path: pulumi.Output<string>
  readonly key: pulumi.Output<string>
  /** SHA-256 of its manifest. */
  readonly digest: pulumi.Output<string>

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
    const result = resultOf<{ checkpointPath: string; key: string; digest: string }>(save)
    this.path = result.checkpointPath
    this.key = result.key
    this.digest = result.digest
    this.registerOutputs({ path: this.path, key: this.key, digest: this.digest })
  }
}

/** The installation's own: another one's would have to be believed. */
export const checkpointsDir = (stateDir: string): string => join(stateDir, 'checkpoints')
