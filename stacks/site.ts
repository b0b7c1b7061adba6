/** What every component needs to know of where it is: the host, its configuration, where things lie on it, how others reach it. */
import { join } from 'node:path'
import type * as pulumi from '@pulumi/pulumi'
import { toolPath } from '../scripts/setup/paths.ts'
import type { ToolName } from '../scripts/setup/tool-table.ts'
import type { StackConfig } from './config.ts'
import type { Host } from './host.ts'

/** Where a service listens, and what proves it to those who connect. */
export interface Exposure {
  /** IP address at which the other services reach those of this host. */
  readonly address: string
  /** Absent: plain connections, which never leave the machine. */
  readonly tls?: pulumi.Output<TlsFiles>
}

/** PEM. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** Programs on the host. */
export interface Programs {
  readonly node: pulumi.Input<string>
  tool(name: ToolName): pulumi.Input<string>
}

export interface Site {
  readonly host: Host
  readonly config: StackConfig
  readonly repoRoot: string
  readonly programs: Programs
  readonly exposure: Exposure
  /** Runs what needs no privileges; absent: root without capabilities. */
  readonly user?: string
  /** Name of a component, unique among hosts. */
  name(base: string): string
  /** Directory of a service's configuration and code. */
  serviceDir(name: string): string
}

export type SiteParts = Pick<Site, 'host' | 'config' | 'repoRoot' | 'programs' | 'exposure' | 'user'>

export const createSite = (parts: SiteParts): Site => ({
  ...parts,
  name: (base) => `${parts.host.prefix}${base}`,
  serviceDir: (name) => join(parts.config.stateDir, 'services', name),
})

/** Tools from the cache, the Node.js that runs the program. */
export const localPrograms = ({ cacheDir }: StackConfig): Programs => ({
  node: process.execPath,
  tool: (name) => toolPath(name, cacheDir),
})

export const loopback: Exposure = { address: '127.0.0.1' }

/** Options of a thing that lies in the installation's directories: when these move, it goes before they do. */
export const movesWith = (
  { config }: Site,
  options: pulumi.CustomResourceOptions,
): { readonly triggers: string[]; readonly options: pulumi.CustomResourceOptions } => ({
  triggers: [config.installation, config.stateDir, config.runDir],
  options: { ...options, deleteBeforeReplace: true },
})
