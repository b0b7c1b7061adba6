/** What a fleet has on this machine, found by its id alone: its own test removes it at the end, and the next one what a killed run left. */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { abandonedDirs, makeOwnedDir } from '../../../scripts/owned-dir.ts'
import { removeLeftovers, type InstallationRef } from '../../../stacks/host-scripts/leftovers.ts'
import { removeNamespaces } from './fleet-network.ts'

const parent = '/var/tmp'
const prefix = 'forkyard-fleet-'

export const nodeNames = ['n1', 'n2', 'n3'] as const
export type NodeName = (typeof nodeNames)[number]
/** Both have a scheduler and a gateway, the first one NATS too. */
export const controlNames = ['c1', 'c2'] as const
export type ControlName = (typeof controlNames)[number]

const fleetDir = (id: string): string => join(parent, `${prefix}${id}`)

/** Each host is an installation of its own to this machine. */
export const premisesOf = (id: string, host: NodeName | ControlName): InstallationRef => ({
  installation: `f${id}${host}`,
  stateDir: join(fleetDir(id), host),
  runDir: `/run/forkyard/f${id}${host}`,
})

/** @returns an id, four hexadecimal digits; everything that is named after it is this process's */
export const openFleetPlace = async (): Promise<string> => {
  await removeAbandonedFleets()
  const id = randomBytes(2).toString('hex')
  makeOwnedDir(fleetDir(id))
  return id
}

/** Idempotent. */
export const removeFleet = async (id: string): Promise<void> => {
  for (const host of [...controlNames, ...nodeNames]) await removeLeftovers(premisesOf(id, host))
  await removeNamespaces(id, nodeNames)
  rmSync(fleetDir(id), { recursive: true, force: true })
}

export const removeAbandonedFleets = async (): Promise<void> => {
  for (const id of abandonedDirs(parent, prefix)) await removeFleet(id)
}
