/** A stack's whole life: up, repair, down. The same code for the local stack and for the scratch stacks of the tests. */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseStackConfig, surroundings, type StackConfig } from '../stacks/config.ts'
import { removeIfEmpty, removeLeftovers } from '../stacks/host-scripts/leftovers.ts'
import { removeUnits } from '../stacks/host-scripts/systemd.ts'
import { policyPack } from './ci/pipeline.ts'
import { changesOf, diagnosticsOf, explained, type Changes } from './engine-output.ts'
import { dropHalfWritten } from './engine-files.ts'
import { dropStaleLocks, refuseForeignEngine } from './engine-locks.ts'
import { enginePath, openStack, runEngine } from './engine.ts'
import { damagedCheckpoints, missingFiles, protectedNames, wasInterrupted } from './stack-state.ts'
import { withLock } from './lock.ts'
import { endOrphans, isOwnedProcess } from './orphans.ts'
import { configFile, findPremises, recordFile, recordPremises, stateFile, type Place } from './place.ts'
import { cacheDir, repoRoot } from './setup/paths.ts'
import { run } from './setup/run.ts'

export type Report = (line: string) => void

export interface UpResult {
  readonly config: StackConfig
  readonly changes: Changes
}

export const locked = <T>(place: Place, report: Report, action: () => Promise<T>): Promise<T> =>
  withLock(place.engineDir, action, () => report('waiting for another run on this stack'))

/** What an earlier run that was killed still does, and what its engine left locked. */
const endEarlierRun = async (place: Place): Promise<void> => {
  const owners = [place.stack, findPremises(place).installation]
  refuseForeignEngine(place, (pid) => isOwnedProcess(pid, owners))
  await endOrphans(owners)
  dropStaleLocks(place)
  dropHalfWritten(place)
}

/** Before anything else that takes long: an earlier run may still be busy with the same. */
export const takeOver = (place: Place, report: Report): Promise<void> =>
  locked(place, report, () => endEarlierRun(place))

/** Idempotent. @throws CommandError with the engine's diagnostics, StackConfigError. */
export const bringUp = (place: Place, report: Report): Promise<UpResult> =>
  locked(place, report, async () => {
    await endEarlierRun(place)
    await openStack(place)
    const config = await readConfig(place)
    recordPremises(place, config)
    if (config.target !== 'local') return { config, changes: await deploy(place, report, elsewhere) }
    // What is down is started before the engine looks, which knows only what it did itself. A service that cannot start may
    // be what this very run mends.
    const broken = await repair(config.stateDir).catch((error: Error) => error)
    const changes = await deploy(place, report)
    if (broken) await repair(config.stateDir)
    return { config, changes }
  })

const unattended = ['--yes', '--skip-preview', '--suppress-progress', '--suppress-outputs']

/** A host that is down keeps nobody but itself from being changed. */
const onManyHosts = ['--continue-on-error']

/** Where others reach what is made, the engine refuses what must never be configured; it takes a second. */
const elsewhere = [...onManyHosts, '--policy-pack', policyPack]

const stackArgs = (place: Place): string[] => ['--stack', place.stack, '--config-file', configFile(place)]

const readConfig = async (place: Place): Promise<StackConfig> => {
  const text = await runEngine(place, ['config', '--json', '--show-secrets', ...stackArgs(place)])
  const entries = Object.entries(JSON.parse(text) as Record<string, { value: string }>)
  const raw = Object.fromEntries(entries.map(([key, { value }]) => [key, value]))
  return parseStackConfig(raw, surroundings(place.stack, cacheDir()))
}

/** Starts every service that should run and does not. */
const repair = async (stateDir: string): Promise<void> => {
  const script = join(repoRoot, 'stacks', 'host-scripts', 'service.ts')
  await run(process.execPath, [script, 'repair', stateDir])
}

const deploy = async (place: Place, report: Report, extra: readonly string[] = []): Promise<Changes> => {
  const state = readFileSync(stateFile(place), 'utf8')
  if (wasInterrupted(state)) await forgetInterruption(place)
  const lost = [...missingFiles(state), ...(await damagedCheckpoints(state))]
  const replaced = lost.flatMap((urn) => ['--replace', urn])
  const args = ['up', ...unattended, ...stackArgs(place), ...replaced, ...extra]
  const output = await explained(runEngine(place, args, { onLine: report }))
  const changes = changesOf(output)
  // One of its plugins may be lost when all but that is done: it says so, and ends as if nothing were.
  if (changes['errored']) throw new Error(`the engine could not do all of it\n${diagnosticsOf(output) ?? output}`)
  return changes
}

/** Every command may be run again: nothing has to be found out about the ones that were cut off. */
const forgetInterruption = async (place: Place): Promise<void> => {
  await runEngine(place, ['refresh', '--clear-pending-creates', ...unattended, ...stackArgs(place)])
}

/** Before anything is taken away: what the engine refuses would be removed by force on this machine. */
const refuseProtected = (place: Place): void => {
  const state = stateFile(place)
  const names = existsSync(state) ? protectedNames(readFileSync(state, 'utf8')) : []
  if (names.length === 0) return
  const way = 'set forkyard:protectData to false and bring the stack up, then take it down'
  throw new Error(`stack ${place.stack} protects ${names.join(', ')}: nothing is taken away. To lose its data, ${way}`)
}

/**
 * Ends with nothing left, on this machine also without engine, state or running services. Idempotent.
 * @throws Error when data is protected; CommandError when the engine could not do it on other machines
 */
export const takeDown = (place: Place, report: Report): Promise<void> =>
  locked(place, report, async () => {
    await endEarlierRun(place)
    refuseProtected(place)
    const premises = findPremises(place)
    if (premises.target && premises.target !== 'local') {
      // Only the state knows what is on other machines: a failure must not lose it.
      if (existsSync(stateFile(place))) await destroyElsewhere(place, report)
      removeEngineFiles(place)
      return removeIfEmpty(dirname(premises.stateDir))
    }
    if (existsSync(stateFile(place)) && existsSync(enginePath())) await destroyWithEngine(place, report)
    await removeUnits(premises.installation)
    await removeLeftovers(premises)
    removeEngineFiles(place)
  })

const destroy = async (place: Place, report: Report, extra: readonly string[] = []): Promise<void> => {
  await openStack(place)
  const args = ['destroy', ...unattended, ...stackArgs(place), ...extra]
  await explained(runEngine(place, args, { onLine: report }))
}

const destroyElsewhere = async (place: Place, report: Report): Promise<void> => {
  await openStack(place)
  if (wasInterrupted(readFileSync(stateFile(place), 'utf8'))) await forgetInterruption(place)
  await destroy(place, report, onManyHosts)
}

/** In peace: services drain. What this leaves, for whatever reason, is removed by force afterwards. */
const destroyWithEngine = async (place: Place, report: Report): Promise<void> => {
  try {
    await destroy(place, report)
  } catch (error) {
    report(`the engine could not take it down, removing it directly: ${(error as Error).message}`)
  }
}

/** The backend and its passphrase belong to all stacks of the user: they go with the last one. */
const removeEngineFiles = (place: Place): void => {
  const { engineDir } = place
  const state = stateFile(place)
  const files = [state, `${state}.bak`, `${state}.attrs`, `${state}.attrs.bak`, configFile(place), recordFile(place)]
  for (const file of files) rmSync(file, { force: true })
  if (hasStacks(dirname(state))) return
  rmSync(engineDir, { recursive: true, force: true })
  try {
    rmdirSync(dirname(engineDir))
  } catch {
    // Another installation is there, or it is gone.
  }
}

const hasStacks = (dir: string): boolean => existsSync(dir) && readdirSync(dir).some((file) => file.endsWith('.json'))
