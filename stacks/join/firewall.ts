/** The agent's port, shut to all but gateways and schedulers, as the agent's configuration says by now: gateways may have moved since the machine joined. */
import { readFileSync } from 'node:fs'
import type { NodeAgentConfig } from '../../services/node-agent/config.ts'
import { ensureFirewall } from '../host-scripts/firewall.ts'
import { machine, paths } from './machine.ts'

/** Idempotent. Before each start of the agent. */
export const shutPort = async ({ listen, joined }: Pick<NodeAgentConfig, 'listen' | 'joined'>): Promise<void> => {
  if (!joined) throw new Error('the agent’s configuration is none of a node that joined')
  await ensureFirewall({ ...machine, ports: [{ port: listen.port, from: joined.controlAddresses }] })
}

export const shutConfiguredPort = async (): Promise<void> =>
  shutPort(JSON.parse(readFileSync(paths.config, 'utf8')) as NodeAgentConfig)
