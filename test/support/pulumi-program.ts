/** A Pulumi program of a user's own, run by the real engine with a state and a home of its own. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { changesOf } from '../../scripts/engine-output.ts'
import { enginePath, enginePathPrefix } from '../../scripts/engine.ts'
import { pulumiHome, repoRoot } from '../../scripts/setup/paths.ts'
import { run } from '../../scripts/setup/run.ts'
import type { Connection } from './lambda.ts'

export interface PulumiProgram {
  /** Its directory. */
  readonly project: string
  /** @returns what the engine prints. @throws when it fails */
  pulumi(...args: string[]): Promise<string>
  up(...args: string[]): Promise<ReturnType<typeof changesOf>>
  output(name: string): Promise<string>
  /** As it lies on the disk. */
  state(): string
  /** Destroys what is there, and removes it all. */
  remove(): Promise<void>
}

/** @param example directory of the program, which is copied. @param projectName as its `Pulumi.yaml` says */
export const preparePulumiProgram = async (
  example: string,
  projectName: string,
  target: Connection,
  environment: Readonly<Record<string, string>> = {},
): Promise<PulumiProgram> => {
  const dir = mkdtempSync(join(tmpdir(), 'forkyard-program-'))
  const project = join(dir, 'project')
  const pulumi = (...args: string[]) =>
    run(enginePath(), [...args, '--non-interactive', '--color', 'never'], {
      cwd: project,
      env: {
        HOME: dir,
        PATH: [...enginePathPrefix(), process.env['PATH'] ?? ''].join(delimiter),
        PULUMI_HOME: pulumiHome(),
        PULUMI_BACKEND_URL: `file://${dir}`,
        PULUMI_CONFIG_PASSPHRASE: 'of this test',
        PULUMI_SKIP_UPDATE_CHECK: 'true',
        PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: 'true',
        ...environment,
      },
    })
  cpSync(join(repoRoot, example), project, { recursive: true })
  mkdirSync(join(project, 'node_modules/@pulumi'), { recursive: true })
  symlinkSync(repoRoot, join(project, 'node_modules/forkyard'))
  symlinkSync(join(repoRoot, 'node_modules/@pulumi/pulumi'), join(project, 'node_modules/@pulumi/pulumi'))
  await pulumi('stack', 'init', 'test')
  const { endpoint, region, accessKeyId, secretAccessKey } = target
  for (const [key, value] of Object.entries({ endpoint, region, accessKeyId }))
    await pulumi('config', 'set', `forkyard:${key}`, value)
  await pulumi('config', 'set', '--secret', 'forkyard:secretAccessKey', secretAccessKey)
  return {
    project,
    pulumi,
    up: async (...args) => changesOf(await pulumi('up', '--yes', '--skip-preview', ...args)),
    output: async (name) => (await pulumi('stack', 'output', name)).trim(),
    state: () => readFileSync(join(dir, `.pulumi/stacks/${projectName}/test.json`), 'utf8'),
    remove: async () => {
      await pulumi('destroy', '--yes', '--skip-preview').catch(() => undefined)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
