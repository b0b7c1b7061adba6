/** Puts each tool into the cache: the right one on PATH, else the vendor's archive, else a build from the Go module proxy. */
import { accessSync, constants, existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { download } from './download.ts'
import { cacheDir, pulumiHome, repoRoot, toolDir, toolPath } from './paths.ts'
import { run, type RunOptions } from './run.ts'
import { tools, toolVersions, type Tool } from './tool-table.ts'

export type Report = (line: string) => void

export const missingTools = (): Tool[] => tools.filter(({ name }) => !existsSync(toolPath(name)))

/** @param go resolves to a Go only when one is needed. @throws Error naming every way that was tried. */
export const provideTool = async (tool: Tool, go: () => Promise<string>, report: Report): Promise<void> => {
  const target = toolPath(tool.name)
  if (existsSync(target)) return
  const staging = `${toolDir(tool.name)}.${process.pid}`
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
        report(`${tool.name}: ${problems.at(-1)?.split('\n')[0]}; trying the next way`)
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

/** Whoever is first wins; the loser's copy is the same. */
const publish = (staging: string, dir: string): void => {
  try {
    renameSync(staging, dir)
  } catch (error) {
    if (!existsSync(dir)) throw error
  }
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
  report(`${name}: downloading`)
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
  report(`${tool.name}: building, about ${Math.max(1, Math.round(tool.buildMinutes))} min`)
  const target = join(staging, tool.name)
  const options: RunOptions = {
    cwd: join(repoRoot, 'scripts', 'tools', tool.name),
    env: goBuildEnv(command),
    onLine: (line) => report(`${tool.name}: ${line}`),
  }
  const common = ['-mod=readonly', '-modcacherw', '-trimpath']
  const generated = tool.sourceGenerator && `${staging}.source`
  try {
    if (generated) {
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

/** Lays the engine's plugins where it looks for them. Idempotent. */
export const installPlugins = (): void => {
  const command = 'pulumi-resource-command' as const
  const plugin = join(pulumiHome(), 'plugins', `resource-command-v${toolVersions[command]}`)
  link(toolPath(command), join(plugin, command))
  link(toolPath('pulumi'), join(pulumiHome(), 'bin', 'pulumi'))
  link(toolPath('pulumi-language-nodejs'), join(pulumiHome(), 'bin', 'pulumi-language-nodejs'))
  writeFileSync(join(pulumiHome(), 'bin', 'pulumi-resource-pulumi-nodejs'), dynamicProvider, { mode: 0o755 })
}

/** The engine's releases ship this launcher of dynamic resources; a build from modules does not have it. */
const dynamicProvider = `#!/bin/sh
exec node "$(node -p "require.resolve('@pulumi/pulumi/cmd/dynamic-provider', { paths: [process.cwd()] })")" "$@"
`

const link = (target: string, path: string): void => {
  mkdirSync(join(path, '..'), { recursive: true })
  rmSync(path, { force: true })
  symlinkSync(target, path)
}
