/** What a sandbox could put on its link: nothing passes but what its own address may send, and nothing at all before there is a policy. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { NetworkPolicy } from '../../../services/contracts/network.ts'
import { addressPlan } from '../../../services/node-agent/network/addresses.ts'
import { pinDirectory } from '../../../services/node-agent/network/filter-maps.ts'
import { hostileFrames, honestFrames, type Ends } from '../../support/frame-table.ts'
import { auditOf } from '../../support/network-probe.ts'
import { watchPackets } from '../../support/packet-witness.ts'
import { udpFrame } from '../../support/raw-frames.ts'
import { startTrafficTarget, type TrafficTarget } from '../../support/traffic-target.ts'
import { configOf } from '../host.ts'
import { installation } from '../installation.ts'
import { openSlot, withoutFilter, type TestSlot } from '../slot.ts'
import { wide } from './acl-matrix.ts'
import { askProbe, createMember, probeFrom, type Member } from '../reach.ts'

const target = installation()
const linkWatch = join(import.meta.dirname, '../../support/link_watch.py')
const linkPrefix = addressPlan(configOf(target, 'node-agent').cgroupParent).prefix

let outside: TrafficTarget
let a: Member
let b: Member
let slot: TestSlot

beforeAll(async () => {
  outside = await startTrafficTarget()
  a = await createMember(target, 'sends', wide, outside)
  b = await createMember(target, 'quiet', wide, outside)
  slot = openSlot(target, a.addresses[4])
})
afterAll(() => {
  slot.close()
  outside.close()
})

const endsOf = (): Ends => ({
  mac: slot.mac,
  hostMac: slot.hostMac,
  own4: a.addresses[4],
  own6: a.addresses[6],
  peer4: outside.address4,
  peer6: outside.address6,
  other4: b.addresses[4],
  other6: b.addresses[6],
})

/** Names of the frames that came past the filter of the slot. */
const passedOf = async (from: TestSlot, frames: Readonly<Record<string, Buffer>>): Promise<string[]> => {
  const witness = watchPackets(from.device)
  try {
    const passed: string[] = []
    let before = witness.passed()
    for (const [name, frame] of Object.entries(frames)) {
      from.send(frame)
      await setTimeout(10)
      const now = witness.passed()
      if (now > before) passed.push(name)
      before = now
    }
    return passed
  } finally {
    witness.close()
  }
}

describe('of all that a sandbox could send', () => {
  /** The slot is the function's for as long as it runs. */
  let running: Promise<unknown>
  beforeAll(() => void (running = askProbe(a, a.name, { stayMs: 20_000 })))
  afterAll(() => running)

  it('what is its own and allowed passes, and nothing else', async () => {
    const honest = honestFrames(endsOf())
    expect(await passedOf(slot, { ...hostileFrames(endsOf()), ...honest })).toEqual(Object.keys(honest))
  })

  it('negative control: without the filter every frame passes', async () => {
    const hostile = hostileFrames(endsOf())
    await withoutFilter(target, [slot.device], async () =>
      expect(await passedOf(slot, hostile)).toEqual(Object.keys(hostile)),
    )
  })
})

/** Made ahead, and nobody's yet. */
const idleSlot = (): TestSlot => {
  const slots = join(pinDirectory(target.runDir), 'slots')
  for (const device of readdirSync(join(target.runDir, 'netns'))) {
    const [link] = JSON.parse(execFileSync('ip', ['-j', 'link', 'show', device], { encoding: 'utf8' })) as [
      { ifindex: number },
    ]
    const key = Buffer.alloc(4)
    key.writeUInt32LE(link.ifindex)
    const bytes = [...key].map(String)
    const entry = ['map', 'lookup', 'pinned', slots, 'key', ...bytes]
    try {
      execFileSync('bpftool', entry, { stdio: 'ignore' })
    } catch {
      const routes = JSON.parse(
        execFileSync('ip', ['-j', '-4', 'route', 'show', 'dev', device], { encoding: 'utf8' }),
      ) as [{ dst: string }]
      return openSlot(target, routes[0].dst)
    }
  }
  throw new Error('every slot is in use')
}

describe('before there is a policy', () => {
  it('nothing passes on a slot, in either direction; without the filter it would', async () => {
    const idle = idleSlot()
    try {
      const frames = honestFrames({ ...endsOf(), mac: idle.mac, hostMac: idle.hostMac, own4: idle.address })
      const { 'udp over IPv4': first, 'tcp over IPv4': second } = frames
      if (!first || !second) throw new Error('no frames')
      const sent = { first, second }
      expect(await passedOf(idle, sent)).toEqual([])
      await withoutFilter(target, [idle.device], async () =>
        expect(await passedOf(idle, sent)).toEqual(['first', 'second']),
      )
    } finally {
      idle.close()
    }
  })

  it('the filter is there: no link comes up without it in both directions', async () => {
    const watch = spawn('python3', [linkWatch, ''], { stdio: ['ignore', 'pipe', 'inherit'] })
    const control = `fyc${process.pid}`
    try {
      const seen: { name: string; filters: string[] }[] = []
      const lines = createInterface({ input: watch.stdout })
      await once(lines, 'line')
      lines.on('line', (line) => seen.push(JSON.parse(line) as { name: string; filters: string[] }))
      // Negative control: a link that comes up first is seen to.
      execFileSync('ip', ['link', 'add', control, 'type', 'veth', 'peer', 'name', `${control}p`])
      execFileSync('ip', ['link', 'set', control, 'up'])
      execFileSync('tc', ['qdisc', 'add', 'dev', control, 'clsact'])
      // Each takes a slot, and another one is made ahead in its place.
      for (const name of ['one', 'two', 'three']) await createMember(target, name, wide, outside)
      const own = () => seen.filter(({ name }) => name.startsWith(linkPrefix))
      await vi.waitFor(() => expect(own().length).toBeGreaterThanOrEqual(3), { timeout: 20_000, interval: 100 })
      expect(own().map(({ filters }) => filters)).toEqual(own().map(() => ['egress', 'ingress']))
      expect(seen.find(({ name }) => name === control)?.filters).toEqual([])
    } finally {
      watch.kill('SIGKILL')
      execFileSync('ip', ['link', 'del', control])
    }
  })
})

/** Binds this process to these processors, a mask in hexadecimal; returns those that it had before. */
const runOn = (mask = ''): string => {
  const args = ['--pid', ...(mask ? [mask] : []), String(process.pid)]
  const before = /mask: ([0-9a-f]+)/.exec(execFileSync('taskset', args, { encoding: 'utf8' }))?.[1]
  if (!before) throw new Error('no mask of processors')
  return before
}

/** Does the work once on each processor that this process may use. */
const onEachProcessor = async (work: () => Promise<void>): Promise<void> => {
  const all = runOn()
  const processors = BigInt(`0x${all}`)
  try {
    for (let one = 1n; one <= processors; one <<= 1n) {
      if (!(processors & one)) continue
      runOn(one.toString(16))
      await work()
    }
  } finally {
    runOn(all)
  }
}

describe('a sandbox that begins more flows than its table holds', () => {
  /** More than its table holds, and fewer than it may begin in a second. */
  const flood = 8_000
  const remote = 7777

  it('forgets flows of its own, and none of another sandbox', async () => {
    // What the other side says is let in by the flow that there is, and by no rule.
    const outwards: NetworkPolicy = { rules: [{ action: 'allow', protocol: 'any', cidr: '0.0.0.0/0' }] }
    const [busy, calm] = [
      await createMember(target, 'busy', outwards, outside),
      await createMember(target, 'calm', outwards, outside),
    ]
    // Ports that the host need not change: the other side answers to the host's address.
    const locals = new Map([
      [busy, { early: 5001, late: 5002 }],
      [calm, { early: 5003, late: 5004 }],
    ])
    const since = Date.now()
    const answers = Promise.all(
      [...locals].map(([member, ports]) =>
        askProbe(member, member.name, {
          waits: Object.values(ports).map((local) => ({ to: outside.address4, port: remote, local, ms: 25_000 })),
        }),
      ),
    )
    const opened = async (member: Member): Promise<number> =>
      (await auditOf(member, member.name, since)).filter(
        (record) => record.kind === 'flow' && record.remotePort === remote && record.verdict === 'allowed',
      ).length
    await vi.waitFor(async () => expect(await Promise.all([...locals.keys()].map(opened))).toEqual([2, 2]), {
      timeout: 15_000,
      interval: 200,
    })
    const say = (text: 'early' | 'late'): Promise<unknown> =>
      probeFrom(outside.netns, {
        says: [...locals.values()].map((ports) => ({
          to: outside.host4,
          port: ports[text],
          source: outside.address4,
          local: remote,
          text,
        })),
      })
    await say('early')
    const from = openSlot(target, busy.addresses[4])
    try {
      const to = { mac: from.hostMac, address: outside.address4 }
      let sent = 0
      // The kernel has a list of what is new for each processor: what one began is kept until the same one begins more.
      await onEachProcessor(async () => {
        // As many as in a second may be told again.
        await setTimeout(1_000)
        for (let begun = 0; begun < flood; begun++, sent++) {
          const frame = udpFrame({ from, to: { ...to, port: 10_000 + (sent % 50_000) }, text: 'flood' })
          // Twice: what was used once is forgotten before what was used again.
          for (let time = 0; time < 2; time++) from.send(frame)
        }
      })
    } finally {
      from.close()
    }
    await say('late')
    expect((await answers).map(({ waits }) => waits)).toEqual([
      ['early', 'silent'],
      ['early', 'late'],
    ])
  })
})
