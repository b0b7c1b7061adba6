/** Addresses that a wide rule does not open: what is the platform's, the host's, or nobody's to reach from a sandbox. */
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { parseCidr } from '../../contracts/network.ts'
import { covers, type AddressPlan } from './addresses.ts'
import type { Guard } from './map-encoding.ts'

/**
 * No rule opens these: this host in all its forms, link-local addresses with the metadata services of clouds (169.254.169.254,
 * fd00:ec2::254), multicast, and IPv4 inside of IPv6, which would be another way to all of them.
 */
const never =
  '0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 240.0.0.0/4 fe80::/10 ff00::/8 fd00:ec2::254 64:ff9b::/96 2002::/16'.split(
    ' ',
  )

/** ::ffff:0:0/96 and the deprecated ::/96, which `parseCidr` takes from nobody. */
const inner4: readonly Guard[] = [
  { family: 6, bytes: [...Array<number>(10).fill(0), 0xff, 0xff, 0, 0, 0, 0], bits: 96, kind: 'never' },
  { family: 6, bytes: Array<number>(16).fill(0), bits: 96, kind: 'never' },
]

const guard = (text: string, kind: Guard['kind'], ports?: readonly number[]): Guard => {
  const prefix = parseCidr(text)
  if (!prefix) throw new Error(`${text} is no prefix`)
  return { ...prefix, kind, ...(ports ? { ports } : {}) }
}

export interface GuardInput {
  readonly plan: AddressPlan
  /** Ports of the platform on this host and on those of `platformAddresses`: no rule opens them. */
  readonly platformPorts: readonly number[]
  /** Of NATS servers and other hosts of the installation. */
  readonly platformAddresses: readonly string[]
  /** Prefixes that the node's configuration shuts for good. */
  readonly never: readonly string[]
}

const hostAddresses = (): string[] =>
  Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .map(({ address }) => address)

/** Of this moment: the host's addresses may change. */
export const guardsOf = (
  { plan, platformPorts, platformAddresses, never: configured }: GuardInput,
  host: readonly string[] = hostAddresses(),
): Guard[] => {
  const shut = [...never, ...configured].map((text) => guard(text, 'never'))
  const exact = new Set([...host, ...platformAddresses].filter((address) => isIP(address) > 0))
  // The longest match counts: what is in one of the ranges above must not be opened by being the host's too.
  const free = [...exact].filter((address) => {
    const own = parseCidr(address)
    return own !== undefined && !shut.some((range) => covers(range, own))
  })
  return [
    ...shut,
    ...inner4,
    // Functions reach each other through the gateway, never from sandbox to sandbox.
    { family: 4, ...plan.subnet4, kind: 'never' },
    { family: 6, ...plan.subnet6, kind: 'never' },
    // What a binding opens names one of these, and no rule of a user's does: they are the node's to give.
    ...plan.proxies4.map((bytes): Guard => ({ family: 4, bytes, bits: 32, kind: 'exact', ports: platformPorts })),
    ...free.filter((address) => !isOfPlan(plan, address)).map((address) => guard(address, 'exact', platformPorts)),
  ]
}

const isOfPlan = ({ subnet4, subnet6 }: AddressPlan, address: string): boolean => {
  const own = parseCidr(address)
  return own !== undefined && (covers(subnet4, own) || covers(subnet6, own))
}
