/** Gives a machine that has joined the release of this bundle. Name, keys, address and capacity stay, and no token is needed. */
import { dirname } from 'node:path'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'
import type { Say } from '../node-machine.ts'
import { installNode, readAgentConfig, readReceived } from './install.ts'
import { prepare } from './machine.ts'
import { openBundle } from './node-bundle.ts'

/** @param bundle directory @returns id of the node */
export const upgradeNode = async (bundle: string, say: Say): Promise<string> => {
  const manifest = await openBundle(bundle)
  const received = readReceived()
  const before = readAgentConfig() as NodeAgentConfig | undefined
  if (!received) throw new Error('this machine has not joined: forkyard-node join')
  if (!before) throw new Error('joining was cut short: run forkyard-node join again')
  prepare()
  const nodeId = await installNode({ bundle, manifest, received, capacity: before.capacity }, say)
  const former = dirname(dirname(before.runscPath))
  if (former !== bundle) say(`${former} is used no longer`)
  return nodeId
}
