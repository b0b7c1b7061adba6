/** Takes labs away: a test's own at its end, and those that killed runs left. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { abandonedDirs } from '../../../scripts/owned-dir.ts'
import { endGroups, groupsBeginning } from './control-groups.ts'
import { networkOf, removeNetwork } from './network.ts'

const parent = '/var/tmp'
const prefix = 'forkyard-lab-'
/** Of the control groups of its hosts. */
export const groupPrefix = (id: string): string => `fylab-${id}-`

export const labDir = (id: string): string => join(parent, `${prefix}${id}`)

/** Of the installation in the lab's cluster. */
export const labInstallation = (id: string): string => `k${id}`

export const removeLab = async (id: string): Promise<void> => {
  await Promise.all(groupsBeginning(groupPrefix(id)).map((name) => endGroups(name, true)))
  await removeNetwork(networkOf(id))
  rmSync(labDir(id), { recursive: true, force: true })
}

export const removeAbandonedLabs = async (): Promise<void> => {
  for (const id of abandonedDirs(parent, prefix)) await removeLab(id)
}
