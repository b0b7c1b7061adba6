/** What every component needs to know of where it is: the host, its configuration, where the scripts lie. */
import { join } from 'node:path'
import type * as pulumi from '@pulumi/pulumi'
import type { StackConfig } from './config.ts'
import type { Host } from './host.ts'

export interface Site {
  readonly host: Host
  readonly config: StackConfig
  readonly repoRoot: string
  /** Path of a script of `host-scripts/` on the host. */
  script(name: string): string
  /** Directory of a service's configuration and code. */
  serviceDir(name: string): string
}

export const createSite = (host: Host, config: StackConfig, repoRoot: string): Site => ({
  host,
  config,
  repoRoot,
  script: (name) => join(repoRoot, 'stacks', 'host-scripts', name),
  serviceDir: (name) => join(config.stateDir, 'services', name),
})

/** Options of a thing that lies in the installation's directories: when these move, it goes before they do. */
export const movesWith = (
  { config }: Site,
  options: pulumi.CustomResourceOptions,
): { readonly triggers: string[]; readonly options: pulumi.CustomResourceOptions } => ({
  triggers: [config.installation, config.stateDir, config.runDir],
  options: { ...options, deleteBeforeReplace: true },
})
