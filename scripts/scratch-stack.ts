/** A second installation on the machine, for as long as one process lives: the tests' own. Shares only the cache. */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findConnection, type Connection } from '../services/cli/connection.ts'
import { freePorts } from './free-ports.ts'
import { abandonedDirs, makeOwnedDir } from './owned-dir.ts'
import { findPremises, recordPremises, type Place, type Premises } from './place.ts'
import { bringUp, takeDown, type Report } from './stack.ts'

export interface ScratchStack {
  readonly place: Place
  readonly premises: Premises
  readonly connection: Connection
  readonly remove: () => Promise<void>
}

const prefix = 'forkyard-scratch-'
const placeIn = (dir: string, configText: () => string = () => ''): Place => ({
  stack: dir.slice(dir.lastIndexOf(prefix) + prefix.length),
  engineDir: join(dir, 'engine'),
  configText,
})

/** @param settings further stack config, by key without namespace. */
export const createScratchStack = async (
  report: Report,
  settings: Readonly<Record<string, string>> = {},
): Promise<ScratchStack> => {
  const name = `t${randomBytes(3).toString('hex')}`
  const dir = join(tmpdir(), `${prefix}${name}`)
  makeOwnedDir(dir)
  const premises = { installation: name, stateDir: join(dir, 'state'), runDir: `/run/forkyard/${name}` }
  const [gatewayPort, schedulerPort, nodeAgentPort, natsPort, callPort] = await freePorts(5)
  const config = { ...premises, gatewayPort, schedulerPort, nodeAgentPort, natsPort, callPort, ...settings }
  const lines = Object.entries(config).map(([key, value]) => `  forkyard:${key}: ${JSON.stringify(value)}\n`)
  const place = placeIn(dir, () => `config:\n${lines.join('')}`)
  recordPremises(place, premises)
  const remove = () => removeScratch(dir, place, report)
  try {
    await bringUp(place, report)
    return { place, premises, connection: findConnection({ FORKYARD_STATE_DIR: premises.stateDir }), remove }
  } catch (error) {
    await remove()
    throw error
  }
}

const removeScratch = async (dir: string, place: Place, report: Report): Promise<void> => {
  await takeDown(place, report)
  rmSync(dir, { recursive: true, force: true })
}

/** What runs that were killed left behind: stacks whose owner lives no more. */
export const removeAbandonedStacks = async (report: Report): Promise<void> => {
  for (const name of abandonedDirs(tmpdir(), prefix)) {
    const dir = join(tmpdir(), `${prefix}${name}`)
    report(`removing ${findPremises(placeIn(dir)).installation}, which a killed run left`)
    await removeScratch(dir, placeIn(dir), report)
  }
}
