/** Hosts as network namespaces on a bridge of this machine. They can be cut off, both ways or one way: packets are dropped in the namespace. */
import { rmSync } from 'node:fs'
import { run } from '../../../scripts/setup/run.ts'
import { makeNetwork, networkOf, removeNetwork } from '../../stacks/lab/network.ts'

/** The only way out of a namespace. */
const device = 'host0'
const table = 'forkyard-cut'

const namespaceOf = (id: string, node: string): string => `fyfleet${id}${node}`
const namespaceFile = (id: string, node: string): string => `/run/netns/${namespaceOf(id, node)}`

/** Of the bridge: what is not a node listens here. */
export const controlAddress = (id: string): string => `${networkOf(id).prefix}.1`
export const nodeAddress = (id: string, index: number): string => `${networkOf(id).prefix}.${11 + index}`

/** Begins a command that runs in the namespace, and otherwise where it would: `ip netns exec` would hide the control groups. */
export const inNamespace = (id: string, node: string): [string, ...string[]] => [
  '/usr/bin/nsenter',
  `--net=${namespaceFile(id, node)}`,
]

export const makeNamespaces = async (id: string, nodes: readonly string[]): Promise<void> => {
  const network = networkOf(id)
  await makeNetwork(network)
  for (const [index, node] of nodes.entries()) {
    const name = namespaceOf(id, node)
    const near = `fyf${id}${node}`
    await run('ip', ['netns', 'add', name])
    await run('ip', ['link', 'add', near, 'type', 'veth', 'peer', 'name', device, 'netns', name])
    await run('ip', ['link', 'set', near, 'master', network.bridge, 'up'])
    for (const link of ['lo', device]) await run('ip', ['-n', name, 'link', 'set', link, 'up'])
    await run('ip', ['-n', name, 'addr', 'add', `${nodeAddress(id, index)}/24`, 'dev', device])
    await run('ip', ['-n', name, 'route', 'add', 'default', 'via', controlAddress(id)])
  }
}

/** Idempotent. A namespace takes its end of the cable along, and that the other end. */
export const removeNamespaces = async (id: string, nodes: readonly string[]): Promise<void> => {
  for (const node of nodes) {
    await run('ip', ['netns', 'del', namespaceOf(id, node)]).catch(() => undefined)
    rmSync(namespaceFile(id, node), { force: true })
  }
  await removeNetwork(networkOf(id))
}

/** `in`: nothing reaches the node; `out`: nothing leaves it. */
export type Cut = 'both' | 'in' | 'out'

const chain = (hook: 'input' | 'output', way: string): string =>
  `  chain ${hook} { type filter hook ${hook} priority 0; ${way} "${device}" drop; }\n`

export const cutOff = async (id: string, node: string, cut: Cut): Promise<void> => {
  const chains = (cut === 'out' ? '' : chain('input', 'iifname')) + (cut === 'in' ? '' : chain('output', 'oifname'))
  const [command, ...args] = [...inNamespace(id, node), 'nft', '-f', '-']
  await run(command, args, { input: `table inet ${table} {\n${chains}}\n` })
}

export const mend = async (id: string, node: string): Promise<void> => {
  const [command, ...args] = [...inNamespace(id, node), 'nft', 'delete', 'table', 'inet', table]
  await run(command, args)
}
