import { join } from 'node:path'
import * as pulumi from '@pulumi/pulumi'
import { bundleService } from '../bundle.ts'
import { resultOf } from '../host.ts'
import type { Site } from '../site.ts'
import type { KubernetesConfig } from './config.ts'
import type { BuiltImage, ImageInput } from './images/build.ts'

export interface ServiceImageArgs {
  readonly name: string
  /** By path in the image: an entry point of this tree. */
  readonly bundles?: Readonly<Record<string, string>>
  /** By path in the image. What they are made of is in `version`. */
  readonly files?: Readonly<
    Record<string, { source: pulumi.Input<string>; name: string; version: pulumi.Input<string> }>
  >
  /** With Node.js. */
  readonly base: boolean
  readonly entrypoint: readonly string[]
}

/** An OCI image of a service, built on this machine, and there for the nodes before whoever depends on it. */
export class ServiceImage extends pulumi.ComponentResource {
  /** As pods name it: the name holds the digest. */
  readonly reference: pulumi.Output<string>
  readonly pullPolicy: string

  constructor(
    workshop: Site,
    settings: KubernetesConfig,
    args: ServiceImageArgs,
    options: pulumi.ComponentResourceOptions = {},
  ) {
    super('forkyard:index:ServiceImage', args.name, {}, options)
    const input = imageInput(workshop, args)
    const build = workshop.host.run(
      `${args.name}-oci`,
      { script: 'oci-image', create: ['put'], input, triggers: [pulumi.jsonStringify(input), process.version] },
      { parent: this, dependsOn: options.dependsOn ?? [] },
    )
    const { layoutPath, digest } = resultOf<BuiltImage>(build)
    if (settings.images === 'registry') {
      const repository = `${settings.registry}/${args.name}`
      this.reference = pulumi.interpolate`${repository}@${digest}`
      this.pullPolicy = 'IfNotPresent'
      const push = { layout: layoutPath, repository, digest }
      workshop.host.run(
        `${args.name}-push`,
        { script: 'oci-push', create: ['put'], input: push, triggers: [this.reference] },
        { parent: this },
      )
    } else {
      const repository = `forkyard.invalid/${workshop.config.installation}/${args.name}`
      this.reference = digest.apply((text) => `${repository}:${text.replace(':', '-')}`)
      this.pullPolicy = 'Never'
      for (const [index, command] of settings.importers.entries())
        workshop.host.run(
          `${args.name}-import-${index}`,
          {
            script: 'oci-import',
            create: ['put'],
            input: { layout: layoutPath, image: this.reference, command },
            triggers: [this.reference, JSON.stringify(command)],
          },
          { parent: this },
        )
    }
    this.registerOutputs({ reference: this.reference })
  }
}

const imageInput = ({ config, repoRoot }: Site, args: ServiceImageArgs): pulumi.Output<ImageInput> =>
  pulumi.output({
    name: args.name,
    out: join(config.cacheDir, 'oci'),
    root: repoRoot,
    bundles: Object.entries(args.bundles ?? {}).map(async ([path, entryPoint]) => {
      const { digest } = await bundleService(entryPoint, repoRoot)
      return { path, entryPoint, digest }
    }),
    files: Object.entries(args.files ?? {}).map(([path, file]) => ({ path, ...file })),
    base: args.base,
    entrypoint: [...args.entrypoint],
  }) as pulumi.Output<ImageInput>
