/** Debian packages that a host needs beyond what the installation brings. */
import type { Role } from '../host-config.ts'

/** Of Node.js, whatever runs on it. */
export const programPackages = ['libstdc++6'] as const
export const firewallPackages = ['nftables'] as const

export const packagesOf: Readonly<Record<Role, readonly string[]>> = {
  gateway: ['erofs-utils'],
  scheduler: [],
  node: ['erofs-utils', 'mount', 'util-linux', 'iproute2', 'nftables'],
  nats: [],
}
