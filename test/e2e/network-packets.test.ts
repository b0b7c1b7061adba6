/** Packets that no honest sandbox sends, what is told about all others, and what of it is left on the machine. */
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, existsSync, readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { NetworkRule } from '../../services/contracts/network.ts'
import { addressPlan } from '../../services/node-agent/network/addresses.ts'
import { programPin } from '../../services/node-agent/network/filter-maps.ts'
import { loadHostCalls } from '../../services/node-agent/sandbox/host-calls.ts'
import { invoke, lambdaClient } from '../support/lambda.ts'
import { auditOf, type Step } from '../support/network-probe.ts'
import { arpFrame, udpFrame } from '../support/raw-frames.ts'
import { startTrafficTarget, type TrafficTarget } from '../support/traffic-target.ts'
import { configOf, metricOf, restartService } from './host.ts'
import { installation } from './installation.ts'
import { ask, networked } from './networked.ts'

const target = installation()
const client = lambdaClient(target)
let outside: TrafficTarget

beforeAll(async () => {
  outside = await startTrafficTarget()
})
afterAll(() => outside.close())

const hostMacOf = (mac: readonly number[]): number[] => mac.map((byte, at) => (at === 1 ? 0xf1 : byte))

/** The function's own slot: whoever has its socket is the sandbox to everybody else. */
const slotOf = async (name: string) => {
  const [address] = (await ask(name, [{ addresses: true }]))[0] as [string]
  const [route] = JSON.parse(execFileSync('ip', ['-j', 'route', 'get', address], { encoding: 'utf8' })) as [
    { dev: string },
  ]
  const mac = [2, 0xf0, ...address.split('.').map(Number)]
  const calls = loadHostCalls(configOf(target, 'node-agent').addonPath)
  const socket = calls.packetSocket(join(target.runDir, 'netns', route.dev), 'eth0')
  return {
    address,
    mac,
    device: route.dev,
    send: (frame: Buffer) => void writeSync(socket, frame),
    close: () => closeSync(socket),
  }
}

const linksOf = (): string[] => {
  const slots = existsSync(join(target.runDir, 'netns')) ? readdirSync(join(target.runDir, 'netns')) : []
  const prefix = addressPlan(configOf(target, 'node-agent').cgroupParent).prefix
  const links = (JSON.parse(execFileSync('ip', ['-j', 'link'], { encoding: 'utf8' })) as { ifname: string }[])
    .map(({ ifname }) => ifname)
    .filter((ifname) => ifname.startsWith(prefix) && !ifname.endsWith('gw'))
  // Both halves of each.
  expect(links.toSorted()).toEqual(slots.toSorted())
  return links
}

describe('a packet', () => {
  it('with somebody else’s address or MAC is dropped and told, as is ARP; without the filter it would pass', async () => {
    const name = await networked('spoofing', { rules: [{ action: 'allow', protocol: 'udp', cidr: '198.18.0.0/15' }] })
    const slot = await slotOf(name)
    const since = Date.now()
    try {
      const to = { mac: hostMacOf(slot.mac), address: outside.address4, port: 7001 }
      const claimed = slot.address.replace(/\d+$/, '250')
      const frames = {
        honest: udpFrame({ from: slot, to, text: 'honest' }),
        address: udpFrame({ from: { mac: slot.mac, address: claimed }, to, text: 'address' }),
        mac: udpFrame({ from: { mac: [...slot.mac.slice(0, 5), 0xee], address: slot.address }, to, text: 'mac' }),
        later: udpFrame({ from: slot, to, text: 'laterlat', fragment: { offset: 8, more: false } }),
        tiny: udpFrame({ from: slot, to, text: '', fragment: { offset: 0, more: true } }).subarray(0, 10 + 14 + 20 + 4),
      }
      const heard = (text: string) => outside.heard.filter((line) => line.endsWith(` ${text}`)).length
      for (const frame of Object.values(frames)) slot.send(frame)
      slot.send(arpFrame(slot.mac, slot.address, outside.address4))
      await vi.waitFor(() => expect(heard('honest')).toBe(1), { timeout: 5_000 })
      // The same refusal is told once. The sandbox, which sent none of that, answers the reply with an ICMP error.
      await vi.waitFor(
        async () => {
          const flows = (await auditOf(target, name, since)).flatMap((record) =>
            record.kind === 'flow' ? [record] : [],
          )
          const told = flows
            .filter(({ protocol }) => protocol === 'udp')
            .map(({ verdict, reason }) => `${verdict} ${reason}`)
          expect(told.toSorted()).toEqual(['allowed ', 'denied fragment', 'malformed fragment', 'spoofed source'])
        },
        { timeout: 10_000, interval: 200 },
      )
      expect(outside.heard.filter((line) => /address|mac$/.test(line))).toEqual([])

      execFileSync('tc', ['filter', 'del', 'dev', slot.device, 'ingress'])
      slot.send(frames.mac)
      slot.send(frames.address)
      await vi.waitFor(() => expect([heard('mac'), heard('address')]).toEqual([1, 1]), { timeout: 5_000 })
    } finally {
      slot.close()
      // The slot will be somebody else's.
      const program = ['bpf', 'da', 'object-pinned', programPin(target.runDir, 'from_sandbox')]
      execFileSync('tc', [
        'filter',
        'replace',
        'dev',
        slot.device,
        'ingress',
        'pref',
        '49152',
        'handle',
        '1',
        ...program,
      ])
    }
  })

  it('larger than the link is cut, and passes in pieces', async () => {
    const name = await networked('pieces', { rules: [{ action: 'allow', protocol: 'udp', cidr: '198.18.0.0/15' }] })
    const bytes = 4000
    expect(await ask(name, [{ udp: outside.address4, port: 7001, say: bytes }])).toEqual([
      String(bytes + `${outside.host4} `.length),
    ])
  })
})

describe('a flow from outside', () => {
  it('reaches a function that listens only where a rule lets it in', async () => {
    const name = await networked('inwards', {
      rules: [{ action: 'allow', direction: 'ingress', protocol: 'tcp', cidr: outside.address4, ports: [9000] }],
    })
    const [address4] = (await ask(name, [{ addresses: true }]))[0] as [string]
    const since = Date.now()
    const connect = (port: number): boolean => {
      const script = `require('node:net').connect({ host: '${address4}', port: ${port} }, function () { this.end('in') })
        .on('close', () => process.exit(0)).on('error', () => process.exit(1)); setTimeout(() => process.exit(2), 500)`
      const command = ['netns', 'exec', outside.netns, process.execPath, '-e', script]
      return spawnSync('ip', command, { stdio: 'ignore' }).status === 0
    }
    const heard = ask(name, [{ listen: [9000, 9001] }], {}, 20_000)
    await vi.waitFor(() => expect(connect(9000)).toBe(true), { timeout: 15_000, interval: 200 })
    expect(connect(9001)).toBe(false)
    expect(await heard).toEqual(['in'])
    await vi.waitFor(
      async () => {
        const flows = (await auditOf(target, name, since)).flatMap((record) => (record.kind === 'flow' ? [record] : []))
        const told = new Set(flows.map(({ verdict, direction, localPort }) => `${verdict} ${direction} ${localPort}`))
        expect([...told].toSorted()).toEqual(['allowed ingress 9000', 'denied ingress 9001'])
      },
      { timeout: 10_000, interval: 200 },
    )
  })

  it('or to it is held to the policy’s limits', async () => {
    const rules: NetworkRule[] = [{ action: 'allow', protocol: 'tcp', cidr: outside.address4 }]
    const name = await networked('limited', { rules, limits: { flowsPerSecond: 3 } })
    const since = Date.now()
    const burst: Step = { many: outside.address4, port: 7001, times: 20, atOnce: true }
    const [answered] = (await ask(name, [burst], {}, 5_000)) as [number]
    expect(answered).toBeGreaterThanOrEqual(1)
    await vi.waitFor(
      async () => {
        const verdicts = (await auditOf(target, name, since)).map(({ verdict }) => verdict)
        expect(verdicts).toContain('limited')
        expect(verdicts.filter((verdict) => verdict === 'allowed').length).toBeGreaterThanOrEqual(answered)
      },
      { timeout: 10_000, interval: 200 },
    )
  })
})

describe('the audit', () => {
  it('has every flow, allowed or denied, of the right tenant, instance and invocation', async () => {
    const name = await networked('audited', {
      rules: [{ action: 'allow', protocol: 'tcp', cidr: outside.address4, ports: [7001] }],
    })
    const other = await networked('quiet', { rules: [] })
    await ask(other, [{ addresses: true }])
    const dropped = 'forkyard_node_audit_records_dropped_total'
    const before = await metricOf(target, 'node-agent', dropped)
    const since = Date.now()
    const allowed = 200
    const denied = 5
    const todo: Step[] = [
      { many: outside.address4, port: 7001, times: allowed },
      ...Array.from({ length: denied }, (_, n) => ({ tcp: outside.address4, port: 8000 + n })),
    ]
    const { json, requestId } = await invoke(client, name, { todo, ms: 300 })
    expect(json).toEqual([allowed, ...Array.from({ length: denied }, () => 'SILENT')])
    const records = await vi.waitFor(
      async () => {
        const found = await auditOf(target, name, since)
        expect(found.length).toBeGreaterThanOrEqual(allowed + denied)
        return found
      },
      { timeout: 10_000, interval: 200 },
    )
    const told = records.map((record) =>
      record.kind === 'flow' ? `${record.verdict} ${record.protocol} ${record.remoteAddress} ${record.remotePort}` : '',
    )
    expect(told.toSorted()).toEqual(
      [
        ...Array.from({ length: allowed }, () => `allowed tcp ${outside.address4} 7001`),
        ...Array.from({ length: denied }, (_, n) => `denied tcp ${outside.address4} ${8000 + n}`),
      ].toSorted(),
    )
    const tenants = new Set(records.map(({ tenant, name: of, invocationId }) => `${tenant} ${of} ${invocationId}`))
    expect([...tenants]).toEqual([`default ${name} ${requestId}`])
    expect(await metricOf(target, 'node-agent', dropped)).toBe(before)
    expect(await auditOf(target, other, since)).toEqual([])
  })
})

describe('slots', () => {
  it('are used again, and no more than are in use and held ahead', async () => {
    const name = await networked('reused', { rules: [{ action: 'allow', protocol: 'any', cidr: '198.18.0.0/15' }] })
    for (let round = 0; round < 12; round++)
      expect(await ask(name, [{ tcp: outside.address4, port: 7001 }], { start: 'restore' })).toHaveLength(1)
    await vi.waitFor(() => expect(linksOf().length).toBeLessThanOrEqual(40), { timeout: 30_000, interval: 500 })
  })

  it('of an agent that was killed are removed, and functions have a network again', async () => {
    const name = await networked('killed', { rules: [{ action: 'allow', protocol: 'any', cidr: '198.18.0.0/15' }] })
    const tcp: Step = { tcp: outside.address4, port: 7001 }
    expect(await ask(name, [tcp])).toEqual([`${outside.host4} hello`])
    await restartService(target, 'node-agent', 'SIGKILL')
    expect(await ask(name, [tcp])).toEqual([`${outside.host4} hello`])
    await vi.waitFor(() => expect(linksOf().length).toBeLessThanOrEqual(9), { timeout: 30_000, interval: 500 })
  })
})
