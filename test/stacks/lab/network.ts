/** A network between the hosts of a lab and this machine, which leads on to wherever this machine gets packages from. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { run } from '../../../scripts/setup/run.ts'

export interface LabNetwork {
  readonly bridge: string
  /** First three numbers. */
  readonly prefix: string
}

const forwarding = '/proc/sys/net/ipv4/ip_forward'
/** Exists while a lab has turned it on; a reboot undoes both. */
const turnedOn = '/run/forkyard-lab-forwarding'
const bridgePrefix = 'fylab'

/** @param id four hexadecimal digits */
export const networkOf = (id: string): LabNetwork => ({
  bridge: `${bridgePrefix}${id}`,
  prefix: `10.213.${Number.parseInt(id, 16) % 256}`,
})

export const makeNetwork = async ({ bridge, prefix }: LabNetwork): Promise<void> => {
  await run('ip', ['link', 'add', bridge, 'type', 'bridge'])
  await run('ip', ['addr', 'add', `${prefix}.1/24`, 'dev', bridge])
  await run('ip', ['link', 'set', bridge, 'up'])
  const rules = `table ip ${bridge} {
  chain post {
    type nat hook postrouting priority srcnat;
    ip saddr ${prefix}.0/24 oifname != "${bridge}" masquerade
  }
}
`
  await run('nft', ['-f', '-'], { input: rules })
  if (readFileSync(forwarding, 'utf8').trim() !== '0') return
  writeFileSync(turnedOn, '')
  writeFileSync(forwarding, '1')
}

const linksOf = (prefix: string): string[] => readdirSync('/sys/class/net').filter((name) => name.startsWith(prefix))

/** Idempotent. */
export const removeLink = async (name: string): Promise<void> => {
  await run('ip', ['link', 'del', name]).catch(() => undefined)
}

/** Idempotent. */
export const removeNetwork = async ({ bridge }: LabNetwork): Promise<void> => {
  // Ends of nodes are named after it. They go with the nodes' namespaces, when the kernel comes to it; until then this lab would not seem gone.
  for (const name of linksOf(bridge)) await removeLink(name)
  await run('nft', ['delete', 'table', 'ip', bridge]).catch(() => undefined)
  // The last lab leaves the machine as the first one found it.
  if (linksOf(bridgePrefix).length > 0 || !existsSync(turnedOn)) return
  writeFileSync(forwarding, '0')
  rmSync(turnedOn)
}
