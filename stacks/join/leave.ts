/** Takes away what joining made on this machine, in whatever state it is. The installation is told by `forkyard node remove`. Idempotent. */
import { execFileSync } from 'node:child_process'
import { removeFirewall } from '../host-scripts/firewall.ts'
import { removeLeftovers } from '../host-scripts/leftovers.ts'
import { removeUnits } from '../host-scripts/systemd.ts'
import { undoScript } from '../ssh/prepare-script.ts'
import { machine, preparation } from './machine.ts'

export const leaveInstallation = async (): Promise<void> => {
  if (process.getuid?.() !== 0) throw new Error('root is needed')
  await removeUnits(machine.installation)
  await removeFirewall({ installation: machine.installation, stateDir: machine.stateDir, ports: [] })
  await removeLeftovers(machine)
  execFileSync('/bin/sh', ['-c', undoScript(preparation)], { stdio: ['ignore', 'ignore', 'inherit'] })
}
