/**
 * What the host has for the network of sandboxes, made and removed with iproute2 and nftables: never while a start waits. Interfaces are
 * named by the installation (addresses.ts), so that whatever a killed agent left is found by its name.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { NetworkCalls } from '../sandbox/host-calls.ts'
import {
  addressPlan,
  blockCount,
  firstBlock,
  formatAddress,
  formatMac,
  networkOf,
  overlaps,
  type AddressPlan,
  type SlotAddresses,
} from './addresses.ts'
import { programPin } from './filter-maps.ts'

const execute = promisify(execFile)

/** Lines of a batch. @throws Error with the program's words. */
const batch = async (program: 'ip' | 'tc', lines: readonly string[]): Promise<void> => {
  const running = execute(program, ['-batch', '-'])
  running.child.stdin?.end(`${lines.join('\n')}\n`)
  await running
}

interface Link {
  readonly ifname: string
  readonly ifindex: number
}
interface Route {
  readonly dst: string
  readonly dev?: string
}

const json = async <T>(...args: string[]): Promise<T[]> => {
  const { stdout } = await execute('ip', ['-j', ...args], { maxBuffer: 64 * 1024 * 1024 })
  return stdout.trim() === '' ? [] : (JSON.parse(stdout) as T[])
}

const linksOf = async (prefix: string): Promise<Link[]> =>
  (await json<Link>('link', 'show')).filter(({ ifname }) => ifname.startsWith(prefix))

const netnsDir = (runDir: string): string => join(runDir, 'netns')
export const netnsOf = (runDir: string, slot: string): string => join(netnsDir(runDir), slot)
/** Of the sandbox's end, in its namespace. */
export const innerName = 'eth0'

/** A part of the shared address space that no route of this machine leads to. */
export const choosePlan = async (installation: string): Promise<AddressPlan> => {
  const { prefix } = addressPlan(installation)
  const routes = (await json<Route>('-4', 'route', 'show', 'table', 'all')).filter(
    ({ dev }) => !dev?.startsWith(prefix),
  )
  const taken = routes.flatMap(({ dst }) => networkOf(dst) ?? [])
  for (let turn = 0; turn < blockCount; turn++) {
    const plan = addressPlan(installation, (firstBlock(installation) + turn) % blockCount)
    if (!taken.some((network) => overlaps(network, plan.subnet4))) return plan
  }
  throw new Error('every part of 100.64.0.0/10 is in use on this machine')
}

/** Everything of an earlier run of this agent. Idempotent. */
export const removeHostNetwork = async (plan: Pick<AddressPlan, 'prefix'>, runDir: string): Promise<void> => {
  const links = await linksOf(plan.prefix)
  if (links.length > 0)
    await batch(
      'ip',
      links.map(({ ifname }) => `link del ${ifname}`),
    )
  for (const name of existsSync(netnsDir(runDir)) ? readdirSync(netnsDir(runDir)) : []) await removeNetns(runDir, name)
}

const removeNetns = async (runDir: string, slot: string): Promise<void> => {
  const path = netnsOf(runDir, slot)
  await execute('umount', ['-l', path]).catch(() => undefined)
  rmSync(path, { force: true })
}

/** The interface that has the addresses of gateway and resolver. No packet passes through it. */
export const makeGateway = async (plan: AddressPlan): Promise<void> => {
  const { gatewayName: name, gateway4, gateway6, proxies4 } = plan
  await batch('ip', [
    `link add ${name} type bridge`,
    `link set ${name} addrgenmode none up`,
    `addr add ${formatAddress(gateway4)}/32 dev ${name}`,
    `addr add ${formatAddress(gateway6)}/128 dev ${name} nodad`,
    ...proxies4.map((address) => `addr add ${formatAddress(address)}/32 dev ${name}`),
  ])
}

/** @returns index of the host's interface. The filter is attached before the link is up. */
export const makeSlotLink = async (
  calls: Pick<NetworkCalls, 'makeNetns'>,
  slot: SlotAddresses,
  runDir: string,
  mtu: number,
): Promise<number> => {
  const { name, v4, v6, mac, hostMac } = slot
  mkdirSync(netnsDir(runDir), { recursive: true })
  const netns = netnsOf(runDir, name)
  calls.makeNetns(netns)
  try {
    const inner = `peer name ${innerName} address ${formatMac(mac)} mtu ${mtu} netns ${netns}`
    await batch('ip', [`link add ${name} address ${formatMac(hostMac)} mtu ${mtu} type veth ${inner}`])
    await batch('tc', [
      `qdisc add dev ${name} clsact`,
      `filter add dev ${name} ingress bpf da object-pinned ${programPin(runDir, 'from_sandbox')}`,
      `filter add dev ${name} egress bpf da object-pinned ${programPin(runDir, 'to_sandbox')}`,
    ])
    await batch('ip', [
      `link set ${name} addrgenmode none up`,
      `route add ${formatAddress(v4)}/32 dev ${name}`,
      `route add ${formatAddress(v6)}/128 dev ${name}`,
      `neigh add ${formatAddress(v4)} lladdr ${formatMac(mac)} dev ${name} nud permanent`,
      `neigh add ${formatAddress(v6)} lladdr ${formatMac(mac)} dev ${name} nud permanent`,
    ])
    const [link] = await json<Link>('link', 'show', name)
    if (!link) throw new Error(`${name} is gone`)
    return link.ifindex
  } catch (error) {
    await removeSlotLink(slot, runDir)
    throw error
  }
}

/** Idempotent. */
export const removeSlotLink = async ({ name }: SlotAddresses, runDir: string): Promise<void> => {
  await execute('ip', ['link', 'del', name]).catch(() => undefined)
  await removeNetns(runDir, name)
}

/** MTU of the link to the outside: packets need not be cut on their way. */
export const outsideMtu = async (): Promise<number> => {
  const [route] = await json<Route>('-4', 'route', 'show', 'default')
  if (!route?.dev) return 1500
  const [link] = await json<Link & { mtu?: number }>('link', 'show', route.dev)
  return Math.min(link?.mtu ?? 1500, 1500)
}
