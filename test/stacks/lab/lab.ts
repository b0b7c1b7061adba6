/**
 * Real hosts for the targets that have hosts: Debian systems on a network of their own, on this machine. A lab belongs to one process; what a
 * killed one left, the next one removes.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeOwnedDir } from '../../../scripts/owned-dir.ts'
import { run } from '../../../scripts/setup/run.ts'
import { groupPrefix, labDir, removeAbandonedLabs, removeLab } from './abandoned.ts'
import { provideBaseSystem } from './base-system.ts'
import { LabHost } from './lab-host.ts'
import { makeNetwork, networkOf } from './network.ts'

/** May use sudo on every host of a lab. */
export const labUser = 'deployer'

export interface Lab {
  readonly dir: string
  readonly hosts: readonly LabHost[]
  /** PEM. */
  readonly privateKey: string
  readonly remove: () => Promise<void>
}

/** A directory that belongs to this process, and an id for everything else that does. */
export const openLabPlace = async (): Promise<{ readonly id: string; readonly dir: string }> => {
  await removeAbandonedLabs()
  const id = randomBytes(2).toString('hex')
  const dir = labDir(id)
  makeOwnedDir(dir)
  return { id, dir }
}

/** @param names of the hosts, all of them up when this resolves @param memoryMiB of each */
export const createLab = async (names: readonly string[], memoryMiB: number): Promise<Lab> => {
  const base = await provideBaseSystem()
  const { id, dir } = await openLabPlace()
  try {
    const keyFile = join(dir, 'key')
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', keyFile])
    const network = networkOf(id)
    await makeNetwork(network)
    const hosts = names.map((name, index) => {
      const address = `${network.prefix}.${index + 11}`
      return new LabHost({ name, dir, group: `${groupPrefix(id)}${name}`, network, address, keyFile, memoryMiB })
    })
    await Promise.all(
      hosts.map(async (host) => {
        await host.install(base, labUser)
        await host.start()
      }),
    )
    return { dir, hosts, privateKey: readFileSync(keyFile, 'utf8'), remove: () => removeLab(id) }
  } catch (error) {
    await removeLab(id)
    throw error
  }
}
