/** What of an agent's network is on the machine, removed by whoever removes the installation. Needs no state but names. */
import { existsSync } from 'node:fs'
import { addressPlan } from './addresses.ts'
import { unpin } from './filter-maps.ts'
import { removeMasquerade, restoreForwarding } from './forwarding.ts'
import { removeHostNetwork } from './host-network.ts'

export interface NetworkOwner {
  /** The agent's control group. */
  readonly owner: string
  readonly runDir: string
}

/** Idempotent. A machine without iproute2 never had any of it. */
export const removeNetworkLeftovers = async ({ owner, runDir }: NetworkOwner): Promise<void> => {
  if (['/sbin/ip', '/usr/sbin/ip', '/bin/ip'].some((path) => existsSync(path)))
    await removeHostNetwork(addressPlan(owner), runDir)
  await removeMasquerade(owner)
  await unpin(runDir)
  restoreForwarding(runDir)
}
