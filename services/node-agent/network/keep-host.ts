/** What of the host's settings the network needs, looked after: somebody else may change them, and addresses come and go. */
import type { Logger } from '../../chassis/log.ts'
import type { Gateways } from '../bindings/gateways.ts'
import type { NodeAgentConfig } from '../config.ts'
import type { AddressPlan } from './addresses.ts'
import type { FilterMaps } from './filter-maps.ts'
import { enableForwarding } from './forwarding.ts'
import { guardsOf } from './guards.ts'
import { guardEntries, type Entries, type Guard } from './map-encoding.ts'

const everyMs = 5_000
const natsPort = 4222
/** As many as an entry of the filter's map has. */
const maxPorts = 6

/**
 * Ports of the platform that functions never reach, and hosts of it: this agent's own, NATS, the gateways', and what the configuration names.
 * @param gateways URLs at which they take calls of nodes
 */
export const platformOf = (
  {
    listen,
    nats,
    network,
  }: Pick<NodeAgentConfig, 'listen' | 'nats'> & {
    readonly network: Pick<NodeAgentConfig['network'], 'platformPorts'>
  },
  gateways: readonly string[] = [],
): { ports: number[]; addresses: string[] } => {
  const servers = nats.servers.map((server) => new URL(server.includes('://') ? server : `nats://${server}`))
  const urls = [...servers, ...gateways.map((url) => new URL(url))]
  const ports = [listen.port, ...network.platformPorts, ...urls.map(({ port }) => Number(port || natsPort))]
  return {
    ports: [...new Set(ports)].filter((port) => port > 0).slice(0, maxPorts),
    addresses: urls.map(({ hostname }) => hostname.replaceAll(/[[\]]/g, '')),
  }
}

export interface HostKeeperDeps {
  readonly config: NodeAgentConfig
  readonly maps: Pick<FilterMaps, 'update'>
  readonly plan: AddressPlan
  readonly gateways: Pick<Gateways, 'urls'>
  readonly logger: Logger
}

export interface HostKeeper {
  /** What no rule opens, or only one that names it. */
  readonly guards: readonly Guard[]
  /** Some function has a network: from now on the host forwards. */
  forward(): void
  close(): void
}

/** @throws Error when the filter cannot be told what it guards. */
export const keepHost = ({ config, maps, plan, gateways, logger }: HostKeeperDeps): HostKeeper => {
  let guarded: Entries | undefined
  let guards: readonly Guard[] = []
  const keepGuards = (): void => {
    const { ports: platformPorts, addresses: platformAddresses } = platformOf(config, gateways.urls)
    guards = guardsOf({ plan, platformPorts, platformAddresses, never: config.network.never })
    const wanted = guardEntries(guards)
    if (guarded?.keys.equals(wanted.keys) && guarded.values.equals(wanted.values)) return
    // What is gone from the host stays guarded until the agent starts anew: wrongly shut for a while, never wrongly open.
    maps.update('guarded', wanted)
    guarded = wanted
  }
  const told = new Set<string>()
  const keepForwarding = (): void => {
    for (const [path, err] of Object.entries(enableForwarding(config.runDir))) {
      if (!told.has(path)) logger.warn({ path, err }, 'the kernel does not forward what sandboxes send')
      told.add(path)
    }
  }
  keepGuards()
  let forwards = false
  const timer = setInterval(() => {
    try {
      keepGuards()
      if (forwards) keepForwarding()
    } catch (err) {
      logger.error({ err }, 'the host’s network settings could not be looked after')
    }
  }, everyMs)
  return {
    get guards() {
      return guards
    },
    forward: () => {
      if (!forwards) keepForwarding()
      forwards = true
    },
    close: () => clearInterval(timer),
  }
}
