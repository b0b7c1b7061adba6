/** The slot of a function that has a network: its devices on the host, its filter, and frames as its sandbox would send them. */
import { execFileSync } from 'node:child_process'
import { closeSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { programPin } from '../../services/node-agent/network/filter-maps.ts'
import { loadHostCalls } from '../../services/node-agent/sandbox/host-calls.ts'
import type { Premises } from '../../scripts/place.ts'
import { configOf } from './host.ts'

export interface TestSlot {
  readonly address: string
  readonly mac: readonly number[]
  /** The host's end. */
  readonly hostMac: readonly number[]
  readonly device: string
  /** Whoever has the slot's socket is the sandbox to everybody else. */
  send(frame: Buffer): void
  close(): void
}

/** The host's end of the slot of the function with this IPv4 address. */
export const deviceOf = (address: string): string => {
  const [route] = JSON.parse(execFileSync('ip', ['-j', 'route', 'get', address], { encoding: 'utf8' })) as [
    { dev: string },
  ]
  return route.dev
}

/** Opens the sandbox's end of the slot with this IPv4 address; the caller closes it. */
export const openSlot = (target: Premises, address: string): TestSlot => {
  const device = deviceOf(address)
  const numbers = address.split('.').map(Number)
  const calls = loadHostCalls(configOf(target, 'node-agent').addonPath)
  const socket = calls.packetSocket(join(target.runDir, 'netns', device), 'eth0')
  return {
    address,
    mac: [2, 0xf0, ...numbers],
    hostMac: [2, 0xf1, ...numbers],
    device,
    send: (frame) => void writeSync(socket, frame),
    close: () => closeSync(socket),
  }
}

const filters = { ingress: 'from_sandbox', egress: 'to_sandbox' } as const

/** Without the filter of these slots, and with it again afterwards: they will be somebody else's. */
export const withoutFilter = async <T>(
  target: Premises,
  devices: readonly string[],
  work: () => Promise<T>,
): Promise<T> => {
  const hooks = Object.entries(filters)
  try {
    for (const device of devices) for (const [hook] of hooks) execFileSync('tc', ['filter', 'del', 'dev', device, hook])
    return await work()
  } finally {
    for (const device of devices)
      for (const [hook, program] of hooks) {
        const pinned = ['bpf', 'da', 'object-pinned', programPin(target.runDir, program)]
        execFileSync('tc', ['filter', 'replace', 'dev', device, hook, 'pref', '49152', 'handle', '1', ...pinned])
      }
  }
}
