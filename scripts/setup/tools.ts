/** Puts each tool into the cache: the right one on PATH, else the vendor's archive, else a build from the Go module proxy. */
import { accessSync, constants, existsSync, mkdirSync, realpathSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { writeFileIfChanged } from '../../stacks/host-scripts/write-file.ts'
import { download } from './download.ts'
import { cacheDir, pulumiHome, repoRoot, toolDir, toolPath } from './paths.ts'
import { run, type RunOptions } from './run.ts'
import { tools, toolVersions, type Tool, type ToolGroup } from './tool-table.ts'

export type Report = (line: string) => void

/** @param groups what is wanted beyond what everybody needs */
export const missingTools = (groups: readonly ToolGroup[] = []): Tool[] =>
  tools.filter(({ name, group }) => (group === undefined || groups.includes(group)) && !existsSync(toolPath(name)))

/**
 * Only for the holder of the set-up's lock.
 * @param go resolves to a Go only when one is needed. @throws Error naming every way that was tried.
 */
export const provideTool = async (tool: Tool, go: () => Promise<string>, report: Report): Promise<void> => {
  const target = toolPath(tool.name)
  if (existsSync(target)) return
  const staging = `${toolDir(tool.name)}.partial`
  rmSync(staging, { recursive: true, force: true })
  mkdirSync(staging, { recursive: true })
  const problems: string[] = []
  const ways = [fromPath, fromVendor, fromModuleProxy] as const
  try {
    for (const way of ways) {
      try {
        if (!(await way(tool, staging, report, go))) continue
        publish(staging, toolDir(tool.name))
        return
      } catch (error) {
        problems.push(error instanceof Error ? error.message : String(error))
        report(`${problems.at(-1)?.split('\n')[0]}; trying the next way`)
      }
    }
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
  throw new Error(
    `${tool.name} ${toolVersions[tool.name]} could not be had. Check that the Go module proxy is reachable ` +
      `(go env GOPROXY), or put the tool at ${target}.\n${problems.join('\n')}`,
  )
}

/** What is in the place lacks the tool: half of a copy, or a link to a tool on PATH that is gone. */
const publish = (staging: string, dir: string): void => {
  rmSync(dir, { recursive: true, force: true })
  renameSync(staging, dir)
}

const onPath = (name: string): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((dir) => join(dir, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })

const fromPath = async ({ name, present }: Tool, staging: string): Promise<boolean> => {
  const found = present && onPath(name)
  if (!found || !(await run(found, present.args)).includes(present.expect)) return false
  symlinkSync(found, join(staging, name))
  return true
}

const fromVendor = async ({ name, download: pinned }: Tool, staging: string, report: Report): Promise<boolean> => {
  if (!pinned) return false
  report('downloading')
  const archive = join(staging, 'archive.tar.gz')
  await download(pinned, archive)
  await run('tar', ['-xzf', archive, '-C', staging])
  rmSync(archive)
  if (!existsSync(join(staging, name))) throw new Error(`${pinned.url} holds no ${name}`)
  return true
}

const fromModuleProxy = async (
  tool: Tool,
  staging: string,
  report: Report,
  go: () => Promise<string>,
): Promise<boolean> => {
  const command = await go()
  report(`building, about ${Math.max(1, Math.round(tool.buildMinutes))} min`)
  const target = join(staging, tool.name)
  const options: RunOptions = {
    cwd: join(repoRoot, 'scripts', 'tools', tool.name),
    env: goBuildEnv(command),
    onLine: report,
    timeoutMs: 30 * 60_000,
  }
  const common = ['-mod=readonly', '-modcacherw', '-trimpath']
  const generated = tool.sourceGenerator && `${staging}.source`
  try {
    if (generated) {
      // Of a build that was killed.
      rmSync(generated, { recursive: true, force: true })
      mkdirSync(generated, { recursive: true })
      await run(command, ['run', ...common, tool.sourceGenerator, generated], options)
      common.push('-modfile', join(generated, 'go.mod'))
    }
    const ldflags = `-s -w ${tool.ldflags ?? ''}`.trim()
    await run(command, ['build', ...common, '-ldflags', ldflags, '-o', target, tool.goPackage], options)
  } finally {
    if (generated) rmSync(generated, { recursive: true, force: true })
  }
  return true
}

/** Everything that a build leaves lies in the cache, and goes when all tools are there (`dropBuildFiles`). */
const goBuildEnv = (go: string): NodeJS.ProcessEnv => ({
  ...process.env,
  // A build step may call `go` itself.
  PATH: go.includes('/') ? `${dirname(go)}${delimiter}${process.env['PATH'] ?? ''}` : process.env['PATH'],
  CGO_ENABLED: '0',
  GOFLAGS: '',
  GOTOOLCHAIN: 'local',
  GOWORK: 'off',
  GOPATH: join(cacheDir(), 'go'),
  GOMODCACHE: join(cacheDir(), 'go', 'mod'),
  GOCACHE: join(cacheDir(), 'go', 'build'),
})

export const dropBuildFiles = (): void => rmSync(join(cacheDir(), 'go'), { recursive: true, force: true })

/** Lays the engine's hosts and plugins where it looks for them: beside itself, and in its home. Idempotent. */
export const installPlugins = (): void => {
  for (const provider of ['command', 'kubernetes'] as const) {
    const name = `pulumi-resource-${provider}` as const
    const dir = join(pulumiHome(), 'plugins', `resource-${provider}-v${toolVersions[name]}`)
    if (existsSync(toolPath(name))) link(toolPath(name), join(dir, name))
  }
  const beside = toolDir('pulumi')
  link(toolPath('pulumi-language-nodejs'), join(beside, 'pulumi-language-nodejs'))
  writeFileIfChanged(join(beside, 'pulumi-resource-pulumi-nodejs'), dynamicProvider, 0o755)
  writeFileIfChanged(join(beside, 'pulumi-analyzer-policy-forkyard'), policyRunner, 0o755)
}

/** The engine's releases ship this launcher of dynamic resources; a build from modules does not have it. */
const dynamicProvider = `#!/bin/sh
exec node "$(node -p "require.resolve('@pulumi/pulumi/cmd/dynamic-provider', { paths: [process.cwd()] })")" "$@"
`

/** For `stacks/policy`: the language host that can be built runs no policy packs. The engine starts it in the pack's directory. */
const policyRunner = `#!/bin/sh
exec node main.ts
`

const link = (target: string, path: string): void => {
  if (existsSync(path) && realpathSync(path) === realpathSync(target)) return
  mkdirSync(dirname(path), { recursive: true })
  rmSync(path, { force: true })
  symlinkSync(target, path)
}
