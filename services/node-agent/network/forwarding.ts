/**
 * The way of sandboxes to the outside: this host forwards what comes from them, with its own address. The kernel's settings for that are
 * the host's; what was changed is on record, and put back when the installation goes.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { formatAddress, type AddressPlan } from './addresses.ts'

const execute = promisify(execFile)

const forward4 = '/proc/sys/net/ipv4/ip_forward'
const forward6 = '/proc/sys/net/ipv6/conf/all/forwarding'
const interfaces6 = '/proc/sys/net/ipv6/conf'

/** The values that were found. Like them, it does not outlive a reboot. */
const recordFile = (runDir: string): string => join(runDir, 'forwarding.json')

const read = (path: string): string => readFileSync(path, 'utf8').trim()

const recordOf = (runDir: string): Record<string, string> =>
  existsSync(recordFile(runDir)) ? (JSON.parse(readFileSync(recordFile(runDir), 'utf8')) as Record<string, string>) : {}

/** Idempotent: somebody else may have switched it off. @returns what could not be set, by path. */
export const enableForwarding = (runDir: string): Readonly<Record<string, string>> => {
  const wanted = new Map<string, string>()
  if (existsSync(forward6) && read(forward6) === '0') {
    // A host that forwards takes no route from its router any more, unless it is told to.
    for (const name of readdirSync(interfaces6)) {
      const path = join(interfaces6, name, 'accept_ra')
      if (name !== 'all' && existsSync(path) && read(path) === '1') wanted.set(path, '2')
    }
    wanted.set(forward6, '1')
  }
  if (read(forward4) === '0') wanted.set(forward4, '1')
  if (wanted.size === 0) return {}
  const found = Object.fromEntries([...wanted.keys()].map((path) => [path, read(path)]))
  // Intent first: a killed agent leaves no change that is not on record. What was found first counts.
  writeFileSync(recordFile(runDir), JSON.stringify({ ...found, ...recordOf(runDir) }))
  const refused: Record<string, string> = {}
  for (const [path, value] of wanted) {
    try {
      writeFileSync(path, value)
    } catch (error) {
      refused[path] = String(error)
    }
  }
  return refused
}

/** Puts back what is on record. Idempotent. */
export const restoreForwarding = (runDir: string): void => {
  for (const [path, value] of Object.entries(recordOf(runDir)).toReversed()) {
    try {
      writeFileSync(path, value)
    } catch {
      // The interface is gone.
    }
  }
  rmSync(recordFile(runDir), { force: true })
}

export const tableName = (owner: string): string => `${owner.replaceAll(/[^A-Za-z0-9]/g, '_')}_network`

/** Replaces the table in one step. */
export const masqueradeRules = (owner: string, { prefix, subnet4, subnet6 }: AddressPlan): string => {
  const table = `table inet ${tableName(owner)}`
  const outside = `oifname != "${prefix}*" masquerade`
  return `${table}
delete ${table}
${table} {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${formatAddress(subnet4.bytes)}/${subnet4.bits} ${outside}
    ip6 saddr ${formatAddress(subnet6.bytes)}/${subnet6.bits} ${outside}
  }
}
`
}

/** @param owner the agent's control group, unique on the machine. */
export const masquerade = async (owner: string, plan: AddressPlan): Promise<void> => {
  const running = execute('nft', ['-f', '-'])
  running.child.stdin?.end(masqueradeRules(owner, plan))
  await running
}

/** Idempotent. */
export const removeMasquerade = async (owner: string): Promise<void> => {
  await execute('nft', ['delete', 'table', 'inet', tableName(owner)]).catch(() => undefined)
}
