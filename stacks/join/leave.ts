/** Takes away what joining made on this machine. The installation is told by `forkyard node remove`. Idempotent. */
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { removeFirewall } from '../host-scripts/firewall.ts'
import { removeLeftovers } from '../host-scripts/leftovers.ts'
import { removeUnits } from '../host-scripts/systemd.ts'
import type { Say } from '../node-machine.ts'
import { machine, paths } from './machine.ts'

export const leaveInstallation = async (say: Say): Promise<void> => {
  if (process.getuid?.() !== 0) throw new Error('root is needed')
  const nodeId = existsSync(paths.received)
    ? (JSON.parse(readFileSync(paths.received, 'utf8')) as { said?: { nodeId?: string } }).said?.nodeId
    : undefined
  await removeUnits(machine.installation)
  await removeFirewall({ installation: machine.installation, stateDir: machine.stateDir, ports: [] })
  await removeLeftovers(machine)
  // Settings stay as they are until the next boot: others may rely on them by now.
  rmSync(paths.sysctl, { force: true })
  say(nodeId === undefined ? 'this machine is no node' : `${nodeId} is gone from this machine`)
}
