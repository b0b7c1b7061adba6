/** A configuration of a node that joined, in its two parts. */
import type { KeyPair } from '../certificate.ts'

/** @param joined gateways, and the authority of their certificates */
export const ofInstallation = (joined: { readonly urls: readonly string[]; readonly authority?: string }) => ({
  nodeId: 'y_a',
  internalToken: 'i'.repeat(64),
  schedulerToken: 's'.repeat(64),
  callToken: `y_a.${'c'.repeat(64)}`,
  // Nobody listens there.
  nats: { servers: ['nats://127.0.0.1:1'], user: 'y_a', password: 'p' },
  environmentKeys: [{ id: 'environment-1', key: '1'.repeat(64) }],
  verifyingKeys: [{ id: 'sign-1', key: '2'.repeat(64) }],
  joined: { ...joined, controlAddresses: ['127.0.0.1'] },
})

/** @param tls absent: plain connections */
export const ofMachine = (tls?: KeyPair & { readonly ca: string }) => ({
  listen: { host: '127.0.0.1', port: 0 },
  ...(tls ? { tls } : {}),
  stateDir: '/none/state',
  runDir: '/none/run',
  runscPath: '/none/runsc',
  addonPath: '/none/addon',
  cgroupParent: 'none',
  runtimes: {},
  capacity: { memoryMiB: 1024 },
})
