/** Where a machine that joined has what it has. One of an installation is on it, so the names are always the same. */
import { join } from 'node:path'

export const machine = {
  installation: 'joined',
  stateDir: '/var/lib/forkyard/joined',
  runDir: '/run/forkyard/joined',
} as const

export const paths = {
  /** What the gateway answered. Holds secrets. */
  received: join(machine.stateDir, 'received.json'),
  config: join(machine.stateDir, 'services', 'node-agent', 'config.json'),
  agentState: join(machine.stateDir, 'node-agent'),
  checkpoints: join(machine.stateDir, 'checkpoints'),
  sysctl: '/etc/sysctl.d/60-forkyard-joined.conf',
} as const
