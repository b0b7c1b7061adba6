/** Where a machine that joined has what it has. One of an installation is on it, so the names are always the same. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { firewallPackages, packagesOf, programPackages } from '../ssh/host-packages.ts'
import { prepareScript, type PrepareArgs } from '../ssh/prepare-script.ts'

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
} as const

/** As that of a host over SSH; openssl makes the node's certificate. */
export const preparation: PrepareArgs = {
  installation: machine.installation,
  stateDir: machine.stateDir,
  packages: [...new Set([...programPackages, ...packagesOf.node, ...firewallPackages, 'openssl'])],
}

/** Packages, kernel settings, directories; whatever is in the way it says itself. Idempotent. @throws Error for others than root */
export const prepare = (): void => {
  if (process.getuid?.() !== 0) throw new Error('root is needed')
  execFileSync('/bin/sh', ['-c', prepareScript(preparation)], { stdio: ['ignore', 'ignore', 'inherit'] })
}
