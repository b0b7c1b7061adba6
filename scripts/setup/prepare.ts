/**
 * What a machine needs before the engine can run. Debian packages and then the runtime images are made side by side with the
 * tools, which nothing of that waits for; two tools at a time, because a build's downloads and its linking leave a core idle.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { runtimeNames } from '../../services/contracts/function.ts'
import { withLock } from '../lock.ts'
import { runLanes, type Lane, type Report, type Step } from '../progress.ts'
import { installPackages, missingPackages } from './debian.ts'
import { ensureGo } from './go-toolchain.ts'
import { cacheDir, repoRoot } from './paths.ts'
import { run } from './run.ts'
import { dropBuildFiles, installPlugins, missingTools, provideTool } from './tools.ts'
import type { Tool, ToolGroup } from './tool-table.ts'

const minutes = 60_000

const sayThatItWaits = (): void => void process.stdout.write('waiting for another set-up on this machine\n')

/**
 * Idempotent; a machine that has everything is left as it is.
 * @param beside what needs nothing of it, in the same display @param groups tools that not everybody needs
 */
export const prepareMachine = async (
  beside: readonly Lane[] = [],
  groups: readonly ToolGroup[] = [],
): Promise<void> => {
  mkdirSync(cacheDir(), { recursive: true })
  // Who lacks nothing does not wait for somebody else's builds.
  if (!(await isPrepared(groups))) return withLock(cacheDir(), () => prepare(beside, groups), sayThatItWaits)
  installPlugins()
  await runLanes(beside)
}

const isPrepared = async (groups: readonly ToolGroup[]): Promise<boolean> =>
  missingTools(groups).length === 0 && (await missingPackages()).length === 0

const prepare = async (beside: readonly Lane[], groups: readonly ToolGroup[]): Promise<void> => {
  const missing = missingTools(groups)
  const packages = await missingPackages()
  const system = [
    ...(packages.length > 0 ? [installStep(packages)] : []),
    ...(packages.length + missing.length > 0 ? runtimeNames.map(imageStep) : []),
  ]
  await runLanes([
    { title: 'System', steps: system },
    { title: 'Tools', steps: toolSteps(missing), atOnce: 2 },
    ...beside,
  ])
  installPlugins()
  dropBuildFiles()
}

const installStep = (packages: readonly string[]): Step => ({
  title: 'Debian packages',
  run: async (report) => {
    await installPackages(packages, report)
    return packages.join(', ')
  },
})

/** Ahead of the engine, which then finds them made. */
const imageStep = (runtime: string): Step => ({
  title: `Image of ${runtime}`,
  run: async (onLine) => {
    const args = [join(repoRoot, 'images', 'build.ts'), '--runtime', runtime, '--out', join(cacheDir(), 'images')]
    await run(process.execPath, args, { onLine, timeoutMs: 15 * minutes })
  },
})

const toolSteps = (missing: readonly Tool[]): Step[] => {
  let toolchain: Promise<string> | undefined
  const go = (report: Report) => () => (toolchain ??= ensureGo(report))
  return missing.map((tool) => ({ title: tool.name, run: (report) => provideTool(tool, go(report), report) }))
}
