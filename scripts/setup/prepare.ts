/**
 * What a machine needs before the engine can run. Debian packages and then the runtime images are made side by side with the
 * tools, which nothing of that waits for; two tools at a time, because a build's downloads and its linking leave a core idle.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { runtimeNames } from '../../services/contracts/function.ts'
import { withLock } from '../lock.ts'
import { runSteps, type Step } from '../progress.ts'
import { installPackages, missingPackages } from './debian.ts'
import { ensureGo } from './go-toolchain.ts'
import { cacheDir, repoRoot } from './paths.ts'
import { run } from './run.ts'
import { dropBuildFiles, installPlugins, missingTools, provideTool } from './tools.ts'
import type { Tool } from './tool-table.ts'

/** Idempotent; a machine that has everything is left as it is. */
export const prepareMachine = async (): Promise<void> => {
  mkdirSync(cacheDir(), { recursive: true })
  await withLock(
    cacheDir(),
    async () => {
      const missing = missingTools()
      await runSteps([...(await systemSteps(missing.length > 0)), ...toolSteps(missing)], 3)
      installPlugins()
      dropBuildFiles()
    },
    () => process.stdout.write('waiting for another set-up on this machine\n'),
  )
}

const systemSteps = async (buildsTools: boolean): Promise<Step[]> => {
  const packages = await missingPackages()
  if (packages.length === 0 && !buildsTools) return []
  const installed = Promise.withResolvers<void>()
  // The images' own step reports the failure.
  installed.promise.catch(() => undefined)
  return [
    {
      title: `Debian packages`,
      skip: () => {
        if (packages.length > 0) return false
        installed.resolve()
        return 'Debian packages: present'
      },
      run: async (report) => {
        try {
          await installPackages(packages, report)
          installed.resolve()
        } catch (error) {
          installed.reject(error instanceof Error ? error : new Error(String(error)))
          throw error
        }
        return packages.join(', ')
      },
    },
    { title: 'Runtime images', run: (report) => installed.promise.then(() => buildImages(report)) },
  ]
}

/** Ahead of the engine, which then finds them made. */
const buildImages = async (onLine: (line: string) => void): Promise<void> => {
  const script = join(repoRoot, 'images', 'build.ts')
  for (const runtime of runtimeNames)
    await run(process.execPath, [script, '--runtime', runtime, '--out', join(cacheDir(), 'images')], { onLine })
}

const toolSteps = (missing: readonly Tool[]): Step[] => {
  let toolchain: Promise<string> | undefined
  return missing.map((tool) => ({
    title: tool.name,
    run: (report) => provideTool(tool, () => (toolchain ??= ensureGo(report)), report),
  }))
}
