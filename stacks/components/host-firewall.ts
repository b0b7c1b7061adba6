import * as pulumi from '@pulumi/pulumi'
import { internalAddress, type HostConfig, type Role } from '../host-config.ts'
import type { FirewallSpec } from '../host-scripts/firewall.ts'
import { movesWith, type Site } from '../site.ts'
import type { StackConfig } from '../config.ts'

/** Who has to reach the ports of each role: pure. The API is for everybody. */
export const openPorts = (host: HostConfig, config: StackConfig): FirewallSpec['ports'] => {
  const { callPort, schedulerPort, nodeAgentPort, peerPort, natsPort, natsClusterPort, hosts, joinFrom } = config
  const addressesOf = (...wanted: Role[]) =>
    hosts
      .filter(({ name, roles }) => name !== host.name && wanted.some((role) => roles.includes(role)))
      .map(internalAddress)
      .toSorted()
  const rules: readonly [Role, number, string[]][] = [
    ['gateway', callPort, [...addressesOf('node'), ...joinFrom]],
    ['scheduler', schedulerPort, addressesOf('gateway')],
    ['node', nodeAgentPort, addressesOf('gateway', 'scheduler')],
    ['node', peerPort, addressesOf('node')],
    ['nats', natsPort, [...addressesOf('gateway', 'scheduler', 'node'), ...joinFrom]],
    ['nats', natsClusterPort, addressesOf('nats')],
  ]
  return rules.filter(([role]) => host.roles.includes(role)).map(([, port, from]) => ({ port, from }))
}

/** Closes the installation's ports on a host to everybody who has no business there. */
export class HostFirewall extends pulumi.ComponentResource {
  constructor(site: Site, host: HostConfig, options: pulumi.ComponentResourceOptions = {}) {
    super('forkyard:index:HostFirewall', site.name('firewall'), {}, options)
    const { installation, stateDir } = site.config
    const moves = movesWith(site, { parent: this, dependsOn: options.dependsOn ?? [] })
    const input = { installation, stateDir, ports: openPorts(host, site.config) }
    site.host.run(
      'firewall',
      { script: 'firewall', create: ['ensure'], delete: ['remove'], input, triggers: moves.triggers },
      moves.options,
    )
    this.registerOutputs({})
  }
}
