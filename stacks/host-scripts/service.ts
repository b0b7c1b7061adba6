/**
 * Runs services under the supervisor of this machine. Spec on stdin.
 *
 *   service.ts ensure            writes the files, starts or restarts what differs, waits until it is ready
 *   service.ts check             a line for each thing that is not as it was made
 *   service.ts remove            stops it and removes all that is its own
 *   service.ts repair STATE_DIR  starts every service of an installation that should run and does not
 */
import { execFile } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { fileDrift, sayDrift } from './drift.ts'
import { explaining } from './explaining.ts'
import { readInput } from './input.ts'
import { isReady, waitUntilReady } from './readiness.ts'
import { ServiceSpec } from './service-spec.ts'
import { chooseSupervisor, type Supervisor } from './supervisor.ts'
import { writeFileIfChanged } from './write-file.ts'

const supervisor = chooseSupervisor()
const run = promisify(execFile)

/** What `repair` needs later; the files' contents stay out of it. */
const recordPath = (stateDir: string, name: string): string => join(stateDir, 'supervised', `${name}.json`)

const waitOrExplain = async (spec: ServiceSpec): Promise<void> => {
  try {
    await waitUntilReady(spec.ready, spec.readyTimeoutMs)
  } catch (error) {
    const log = await supervisor.lastLogLines(spec, 20).catch(() => '(no log)')
    throw new Error(`${spec.name} is ${(error as Error).message}\nlast log lines:\n${log}`, { cause: error })
  }
}

/**
 * Somebody else's answer must not pass for the service's own. Whose it is, is asked after it: a host that boots may start the service at
 * any moment.
 */
export const refuseTakenPort = async (
  spec: ServiceSpec,
  supervised: Pick<Supervisor, 'hasProcesses'>,
): Promise<void> => {
  const { name, ready } = spec
  if (!(await isReady(ready)) || (await supervised.hasProcesses(spec))) return
  const where = 'url' in ready ? ready.url : `port ${ready.tcpPort}`
  throw new Error(`${where} answers before ${name} was started: another program has its port (stack config: ...Port)`)
}

/** Idempotent; resolves when it is ready. @throws Error with the last lines of its log */
export const ensureService = async (spec: ServiceSpec): Promise<void> => {
  await refuseTakenPort(spec, supervisor)
  mkdirSync(spec.stateDir, { recursive: true, mode: 0o700 })
  const changed = spec.files.filter(({ path, content }) => writeFileIfChanged(path, content))
  if (spec.user) await giveToUser(spec, spec.user)
  writeFileIfChanged(recordPath(spec.stateDir, spec.name), JSON.stringify({ ...spec, files: [] }))
  await supervisor.ensure(spec, changed.length > 0)
  await waitOrExplain(spec)
}

/** Contents stay out of it: some are secrets. */
const check = async (spec: ServiceSpec): Promise<string[]> => [
  ...spec.files.flatMap(({ path, content }) => fileDrift(path, content)),
  ...(await supervisor.drift(spec)),
]

/** The service reads its files and writes to its directories; the way there it can only pass. */
const giveToUser = async ({ files, writablePaths = [], stateDir }: ServiceSpec, user: string): Promise<void> => {
  const id = async (option: string) => Number((await run('id', [option, user])).stdout)
  const [uid, gid] = [await id('-u'), await id('-g')]
  for (const path of writablePaths) mkdirSync(path, { recursive: true, mode: 0o700 })
  for (const path of [...files.map((file) => file.path), ...writablePaths]) {
    chownSync(path, uid, gid)
    for (let at = dirname(path); at.startsWith(stateDir); at = dirname(at))
      if (!writablePaths.includes(at)) chmodSync(at, 0o711)
  }
}

const remove = async (spec: ServiceSpec): Promise<void> => {
  await supervisor.remove(spec)
  const record = recordPath(spec.stateDir, spec.name)
  const paths = [...spec.files.map((file) => file.path), ...spec.ownedPaths, record]
  for (const path of paths) rmSync(path, { recursive: true, force: true })
  // Directories that are empty now: siblings of other services keep theirs.
  for (const path of [...paths, join(spec.stateDir, 'runit', spec.name), join(spec.stateDir, 'log', spec.name)]) {
    removeEmptyParents(dirname(path), spec.stateDir)
  }
}

const removeEmptyParents = (dir: string, stop: string): void => {
  try {
    for (let at = dir; at.startsWith(`${stop}/`); at = dirname(at)) rmdirSync(at)
  } catch {
    // Not empty, or gone.
  }
}

const recorded = (stateDir: string): ServiceSpec[] => {
  try {
    return readdirSync(join(stateDir, 'supervised'))
      .filter((file) => file.endsWith('.json'))
      .map((file) => JSON.parse(readFileSync(join(stateDir, 'supervised', file), 'utf8')) as ServiceSpec)
  } catch {
    return []
  }
}

const repair = async (stateDir: string): Promise<void> => {
  const specs = recorded(stateDir)
  await Promise.all(specs.map((spec) => supervisor.repair(spec)))
  await Promise.all(specs.map(waitOrExplain))
}

export const serviceCommand = async ([verb, stateDir]: readonly string[]): Promise<void> => {
  if (verb === 'ensure') await ensureService(readInput(ServiceSpec))
  else if (verb === 'check') sayDrift(await check(readInput(ServiceSpec)))
  else if (verb === 'remove') await remove(readInput(ServiceSpec))
  else if (verb === 'repair' && stateDir) await repair(stateDir)
  else throw new Error('usage: service.ts ensure|check|remove|repair STATE_DIR')
}

if (import.meta.main) await explaining(() => serviceCommand(process.argv.slice(2)))
