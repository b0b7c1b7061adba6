/** Takes away what joining made on this machine. The installation is told by `forkyard node remove`. Idempotent. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { removeFirewall } from '../host-scripts/firewall.ts'
import { removeLeftovers } from '../host-scripts/leftovers.ts'
import { removeUnits } from '../host-scripts/systemd.ts'
import type { Say } from '../node-machine.ts'
import { undoScript } from '../ssh/prepare-script.ts'
import { machine, paths, preparation } from './machine.ts'

export const leaveInstallation = async (say: Say): Promise<void> => {
  if (process.getuid?.() !== 0) throw new Error('root is needed')
  const nodeId = existsSync(paths.received)
    ? (JSON.parse(readFileSync(paths.received, 'utf8')) as { said?: { nodeId?: string } }).said?.nodeId
    : undefined
  await removeUnits(machine.installation)
  await removeFirewall({ installation: machine.installation, stateDir: machine.stateDir, ports: [] })
  await removeLeftovers(machine)
  execFileSync('/bin/sh', ['-c', undoScript(preparation)], { stdio: ['ignore', 'ignore', 'inherit'] })
  say(nodeId === undefined ? 'this machine is no node' : `${nodeId} is gone from this machine`)
}
