/** The Pulumi engine, as this project runs it: offline, with its own plugins, state and passphrase. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { ownerVariable } from '../stacks/host-scripts/processes.ts'
import { writeFileIfChanged } from '../stacks/host-scripts/write-file.ts'
import { configFile, findPremises, passphraseFile, stateFile, type Place } from './place.ts'
import { cacheDir, pulumiHome, repoRoot, toolDir, toolPath } from './setup/paths.ts'
import { run, type RunOptions } from './setup/run.ts'

export const enginePath = (): string => toolPath('pulumi')

/** What a shell needs for the same engine and the same state. */
export const engineVariables = (place: Place): Readonly<Record<string, string>> => ({
  PULUMI_HOME: pulumiHome(),
  PULUMI_BACKEND_URL: `file://${place.engineDir}`,
  PULUMI_CONFIG_PASSPHRASE_FILE: passphraseFile(place),
  PULUMI_STACK: place.stack,
  PULUMI_SKIP_UPDATE_CHECK: 'true',
  PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: 'true',
  PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS: 'true',
  FORKYARD_CACHE: cacheDir(),
})

/** First the project's Node.js 24 (the language host starts `node` by name), then the engine and its hosts. */
export const enginePathPrefix = (): string[] => [join(repoRoot, 'node_modules', '.bin'), toolDir('pulumi')]

export const engineEnv = (place: Place): NodeJS.ProcessEnv => {
  const { PULUMI_CONFIG_PASSPHRASE: _, NODE_OPTIONS: __, ...env } = process.env
  return {
    ...env,
    ...engineVariables(place),
    [ownerVariable]: findPremises(place).installation,
    // A language host that is killed leaves its pipes in the temporary directory; this one goes with the stack.
    TMPDIR: temporaryDir(place),
    PATH: [...enginePathPrefix(), env['PATH'] ?? ''].join(delimiter),
  }
}

const temporaryDir = ({ engineDir }: Place): string => join(engineDir, 'tmp')

export const runEngine = (place: Place, args: readonly string[], options: RunOptions = {}): Promise<string> => {
  mkdirSync(temporaryDir(place), { recursive: true, mode: 0o700 })
  return run(enginePath(), [...args, '--non-interactive', '--color', 'never'], {
    cwd: place.tree ?? repoRoot,
    env: engineEnv(place),
    ...options,
  })
}

/** Makes backend and passphrase where they are missing. */
export const makeBackend = (place: Place): void => {
  mkdirSync(place.engineDir, { recursive: true, mode: 0o700 })
  if (!existsSync(passphraseFile(place)))
    writeFileIfChanged(passphraseFile(place), `${randomBytes(32).toString('hex')}\n`)
}

/** Makes backend, stack and configuration file where they are missing, and the configuration what the tree says. */
export const openStack = async (place: Place): Promise<void> => {
  makeBackend(place)
  const salt = saltOf(configFile(place)) ?? saltOf(stateFile(place))
  if (salt && existsSync(stateFile(place))) return writeConfig(place, salt)
  writeConfig(place, await initStack(place))
}

const writeConfig = (place: Place, salt: string): void => {
  writeFileIfChanged(configFile(place), withSalt(place.configText(), salt))
}

/** The salt belongs to this machine's passphrase, and so not into the tree; a tree that has one keeps it. */
export const withSalt = (configText: string, salt: string): string =>
  /^encryptionsalt:/m.test(configText) ? configText : `encryptionsalt: ${salt}\n${configText}`

/** In YAML as the engine writes it, and in its state. */
const saltOf = (file: string): string | undefined => {
  if (!existsSync(file)) return undefined
  return /^\s*"?(?:encryptionsalt|salt)"?: "?(v1:[^"\s]+)"?/m.exec(readFileSync(file, 'utf8'))?.[1]
}

/** `stack init` writes the salt beside a Pulumi.yaml: one of its own, so that the tree stays as it is. */
const initStack = async (place: Place): Promise<string> => {
  const dir = mkdtempSync(join(tmpdir(), 'forkyard-init-'))
  try {
    writeFileSync(join(dir, 'Pulumi.yaml'), 'name: forkyard\nruntime: nodejs\n')
    await runEngine(place, ['stack', 'init', place.stack, '--no-select'], { cwd: dir })
    const salt = saltOf(join(dir, `Pulumi.${place.stack}.yaml`))
    if (!salt) throw new Error('the engine made a stack without a salt')
    return salt
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
