/**
 * `scripts/ci/stack preview|up|drift|mend STACK`: one step of a pipeline, the same for any CI. State is where `$PULUMI_BACKEND_URL` says, the configuration is
 * `stacks/Pulumi.<stack>.yaml` of this commit, and its secrets are opened by what that file names or by `$PULUMI_CONFIG_PASSPHRASE`.
 */
import { delimiter } from 'node:path'
import { parseArgs } from 'node:util'
import { ownerVariable } from '../../stacks/host-scripts/processes.ts'
import { enginePath, enginePathPrefix } from '../engine.ts'
import { explained } from '../engine-output.ts'
import { findDrift, mendDrift, type Drift } from '../drift.ts'
import { cacheDir, pulumiHome, repoRoot } from '../setup/paths.ts'
import { prepareMachine } from '../setup/prepare.ts'
import { run } from '../setup/run.ts'
import { wasInterrupted } from '../stack-state.ts'
import { policyPack } from './pipeline.ts'

const usage = `usage: scripts/ci/stack preview STACK   what an update would change
       scripts/ci/stack up STACK        changes it
       scripts/ci/stack drift STACK     what is no longer as the last update made it, on every host; fails if there is something
       scripts/ci/stack mend STACK      makes that again
`

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const env: NodeJS.ProcessEnv = {
  ...process.env,
  PULUMI_HOME: pulumiHome(),
  PULUMI_SKIP_UPDATE_CHECK: 'true',
  FORKYARD_CACHE: cacheDir(),
  PATH: [...enginePathPrefix(), process.env['PATH'] ?? ''].join(delimiter),
}

const engine = (args: readonly string[], onLine?: (line: string) => void): Promise<string> =>
  run(enginePath(), [...args, '--non-interactive', '--color', 'never'], {
    cwd: repoRoot,
    env,
    ...(onLine ? { onLine } : {}),
  })

const isInCluster = async (stack: string): Promise<boolean> =>
  (await engine(['config', 'get', 'forkyard:target', '--stack', stack]).catch(() => '')).trim() === 'kubernetes'

const preview = (stack: string): Promise<string> =>
  engine(['preview', '--diff', '--stack', stack, '--policy-pack', policyPack], say)

/** What an update that was cut off left open is closed first; a host that is down keeps no other from being changed. */
const up = async (stack: string): Promise<string> => {
  const at = ['--stack', stack, '--yes', '--skip-preview', '--suppress-outputs']
  if (wasInterrupted(await engine(['stack', 'export', '--stack', stack])))
    await engine(['refresh', '--clear-pending-creates', ...at], say)
  return engine(['up', '--continue-on-error', '--policy-pack', policyPack, ...at], say)
}

const exported = (stack: string): Promise<string> => engine(['stack', 'export', '--show-secrets', '--stack', stack])

/** @throws Error when something differs. */
const tell = (drifts: readonly Drift[]): string => {
  for (const { name, differences } of drifts) for (const line of differences) say(`${name}: ${line}`)
  if (drifts.length > 0) throw new Error(`${drifts.length} things are not as the last update made them`)
  say('everything is as the last update made it')
  return ''
}

const drift = async (stack: string): Promise<string> => tell(await findDrift(await exported(stack)))

const mend = async (stack: string): Promise<string> => {
  const state = await exported(stack)
  return tell(await mendDrift(state, await findDrift(state)))
}

const verbs: Readonly<Record<string, (stack: string) => Promise<string>>> = { preview, up, drift, mend }

const main = async (): Promise<void> => {
  const [name = '', stack, ...rest] = parseArgs({ allowPositionals: true }).positionals
  const verb = verbs[name]
  if (!verb || !stack || rest.length > 0) throw new TypeError(`${name} ${stack ?? ''}: no such step`)
  if (!process.env['PULUMI_BACKEND_URL'])
    throw new Error('PULUMI_BACKEND_URL is not set: the state of a pipeline lasts longer than its machine')
  process.env[ownerVariable] = stack
  await prepareMachine()
  if (await isInCluster(stack)) await prepareMachine([], ['kubernetes'])
  await explained(verb(stack))
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  if (error instanceof TypeError) process.stderr.write(usage)
  process.exitCode = 1
}
