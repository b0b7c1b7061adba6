/** What a policy says of bytes per second, in both directions, as a ratio between limits: how fast the machine is does not matter. */
import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { NetworkPolicy } from '../../services/contracts/network.ts'
import { putPolicy } from '../support/network-probe.ts'
import { startTrafficTarget, type TrafficTarget } from '../support/traffic-target.ts'
import { installation } from './installation.ts'
import { ask, networked } from './networked.ts'
import { askProbe, createMember, probeFrom, type Member } from './reach.ts'

const target = installation()
const port = 9500
const ms = 4_000
/** Far above both limits, and far below what would keep a small machine from all else. */
const sentPerSecond = 6_000_000
const limit = 200_000

let outside: TrafficTarget
let member: Member

const policyWith = (bytesPerSecond?: number): NetworkPolicy => ({
  rules: (['egress', 'ingress'] as const).map((direction) => ({
    action: 'allow',
    direction,
    protocol: 'udp',
    cidr: outside.address4,
  })),
  ...(bytesPerSecond === undefined ? {} : { limits: { bytesPerSecond } }),
})

beforeAll(async () => {
  outside = await startTrafficTarget()
  member = await createMember(target, 'limited', policyWith(), outside)
})
afterAll(() => outside.close())

/** Bytes that arrived of what was sent without a stop. */
const arrived = {
  egress: async (): Promise<number> => {
    const counting = probeFrom(outside.netns, { counts: [{ on: outside.address4, port, ms, patienceMs: 20_000 }] })
    const listening = ['netns', 'exec', outside.netns, 'ss', '-Hlun', `sport = :${port}`]
    await vi.waitFor(() => expect(execFileSync('ip', listening, { encoding: 'utf8' })).not.toBe(''), {
      timeout: 20_000,
      interval: 100,
    })
    await askProbe(member, member.name, {
      floods: [{ to: outside.address4, port, ms: ms + 1_500, bytesPerSecond: sentPerSecond }],
    })
    return (await counting).counts?.[0] ?? 0
  },
  ingress: async (): Promise<number> => {
    const counting = askProbe(member, member.name, {
      counts: [{ on: member.addresses[4], port, ms, patienceMs: 20_000 }],
    })
    const enough = new AbortController()
    const floods = [{ to: member.addresses[4], port, ms: 30_000, bytesPerSecond: sentPerSecond }]
    const flooding = probeFrom(outside.netns, { floods }, enough.signal).catch(() => undefined)
    try {
      return (await counting).counts?.[0] ?? 0
    } finally {
      enough.abort()
      await flooding
    }
  },
}

const arrivedWith = async (direction: keyof typeof arrived, bytesPerSecond?: number): Promise<number> => {
  await putPolicy(target, member.name, policyWith(bytesPerSecond))
  return arrived[direction]()
}

describe.each(['egress', 'ingress'] as const)('a limit of bytes per second, %s', (direction) => {
  it('four times as high lets four times as much pass; without one there is no such bound', async () => {
    const low = await arrivedWith(direction, limit)
    const high = await arrivedWith(direction, 4 * limit)
    const none = await arrivedWith(direction)
    // What was saved up when the counting began may be a fifth of it, or nothing.
    expect(high / low).toBeGreaterThan(2.7)
    expect(high / low).toBeLessThan(6)
    expect(none / high).toBeGreaterThan(1.5)
  })
})

it('a limit of flows per second lets new ones begin again and again, however often they are tried', async () => {
  const rules: NetworkPolicy['rules'] = [{ action: 'allow', protocol: 'tcp', cidr: outside.address4 }]
  const name = await networked('trying', { rules, limits: { flowsPerSecond: 2 } })
  // Each try is a flow of its own. The limit saves up two, and two more come with each second.
  const [answered] = await ask(name, [{ many: outside.address4, port: 7001, times: 32 }], {}, 250)
  expect(answered).toBeGreaterThan(5)
  expect(answered).toBeLessThan(32)
})
