/** Where the set-up keeps what it built or fetched. Everything below `cacheDir` may be deleted at any time. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { toolVersions, type ToolName } from './tool-table.ts'

export const repoRoot = resolve(import.meta.dirname, '../..')

export const cacheDir = (env: NodeJS.ProcessEnv = process.env): string =>
  resolve(env['FORKYARD_CACHE'] ?? join(env['XDG_CACHE_HOME'] ?? join(env['HOME'] ?? homedir(), '.cache'), 'forkyard'))

/** Directory with the tool's executable, named like the tool. */
export const toolDir = (name: ToolName, cache = cacheDir()): string => join(cache, 'tools', name, toolVersions[name])

export const toolPath = (name: ToolName, cache = cacheDir()): string => join(toolDir(name, cache), name)

/** `PULUMI_HOME`: the engine's plugins and settings, kept apart from those of the user's own Pulumi. */
export const pulumiHome = (cache = cacheDir()): string => join(cache, 'pulumi')
