/**
 * Every way between a function and everybody else, by protocol, family and direction, under several policies: no cell deviates, each attempt is
 * in the audit, and what was revoked ends. The functions are real sandboxes of two tenants; the internet and a cloud's metadata
 * service are stubs in a network namespace.
 */
import { execFileSync, type ChildProcess } from 'node:child_process'
import ipaddr from 'ipaddr.js'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { auditOf, deletePolicy, putPolicy } from '../../support/network-probe.ts'
import { startTrafficTarget, type TrafficTarget } from '../../support/traffic-target.ts'
import { configOf } from '../host.ts'
import { installation } from '../installation.ts'
import { deviceOf, withoutFilter } from '../slot.ts'
import { createTenant } from '../tenants.ts'
import {
  cellsFrom,
  cellsTo,
  expectedOf,
  metadata,
  outcomesOf,
  roundsOf,
  wide,
  type Cell,
  type Peer,
} from './acl-matrix.ts'
import {
  askProbe,
  createMember,
  probeFrom,
  probeFunction,
  servedPort,
  serveOn,
  type Addresses,
  type LastAnswer,
  type Member,
} from '../reach.ts'

const target = installation()
const ms = 4_000
const canonical = (address: string): string => ipaddr.parse(address).toNormalizedString()
/** On which the host and the metadata service answer. */
const answeredPort = 7400
/** Routes for packets of the functions' slots alone. */
const table = 20_000 + (process.pid % 10_000)

let outside: TrafficTarget
const servers: ChildProcess[] = []
let a: Member
let b: Member
let peers: Peer[]

const run = (...[program, ...args]: [string, ...string[]]): string => execFileSync(program, args, { encoding: 'utf8' })

beforeAll(async () => {
  outside = await startTrafficTarget()
  const inside = ['ip', '-n', outside.netns] as const
  run(...inside, 'addr', 'add', `${metadata[4]}/32`, 'dev', 'eth0')
  run(...inside, 'addr', 'add', `${metadata[6]}/128`, 'dev', 'eth0', 'nodad')
  servers.push(
    serveOn(undefined, [outside.host4, outside.host6], answeredPort),
    serveOn(outside.netns, [metadata[4], metadata[6]], answeredPort),
  )
  a = await createMember(target, 'a', wide, outside)
  b = await createMember(await createTenant(target), 'b', wide, outside)
  for (const [family, address] of [
    ['-4', metadata[4]],
    ['-6', metadata[6]],
  ] as const) {
    run('ip', family, 'route', 'add', address, 'dev', outside.device, 'table', String(table))
    run('ip', family, 'rule', 'add', 'iif', deviceOf(a.addresses[4]), 'to', address, 'lookup', String(table))
  }
  const host: Addresses = { 4: outside.host4, 6: outside.host6 }
  const ports = {
    'admin API': configOf(target, 'gateway').listen.port,
    scheduler: configOf(target, 'scheduler').listen.port,
    agent: configOf(target, 'node-agent').listen.port,
    NATS: Number(new URL(configOf(target, 'gateway').nats.servers[0] ?? '').port),
  }
  peers = [
    { name: 'internet', addresses: { 4: outside.address4, 6: outside.address6 }, port: 7001 },
    { name: 'host', addresses: host, port: answeredPort },
    { name: 'metadata', addresses: metadata, port: answeredPort },
    { name: 'b', addresses: b.addresses, port: servedPort },
    ...Object.entries(ports).map(([name, port]) => ({
      name,
      addresses: host,
      port,
      protocols: ['tcp', 'udp'] as const,
    })),
  ]
})
afterAll(() => {
  for (const server of servers) server.kill('SIGKILL')
  for (const [family, address] of [
    ['-4', metadata[4]],
    ['-6', metadata[6]],
  ] as const) {
    run('ip', family, 'rule', 'del', 'to', address, 'lookup', String(table))
    run('ip', family, 'route', 'flush', 'table', String(table))
  }
  outside.close()
})

/** All attempts at once: what A begins, and what others begin with A. */
const attempts = (): Record<'own' | 'stub' | 'host' | 'b', Cell[]> => ({
  own: cellsTo(peers),
  stub: [
    ...cellsFrom('internet', { 4: outside.address4, 6: outside.address6 }, a.addresses),
    ...cellsFrom('metadata', metadata, a.addresses),
  ],
  host: cellsFrom('host', { 4: outside.host4, 6: outside.host6 }, a.addresses),
  b: cellsFrom('b', undefined, a.addresses),
})
const allCells = (): Cell[] => Object.values(attempts()).flat()

const matrixNow = async (): Promise<Record<string, string>> => {
  const cells = attempts()
  const towards = [outside.address4, outside.address6]
  const [own, stub, host, others] = await Promise.all([
    askProbe(a, a.name, { cells: cells.own, ms, stayMs: ms + 1_500, towards }),
    probeFrom(outside.netns, { cells: cells.stub, ms }),
    probeFrom(undefined, { cells: cells.host, ms }),
    askProbe(b, b.name, { cells: cells.b, ms, stayMs: ms + 1_500, towards }),
  ])
  return {
    ...outcomesOf(cells.own, own.outcomes),
    ...outcomesOf(cells.stub, stub.outcomes),
    ...outcomesOf(cells.host, host.outcomes),
    ...outcomesOf(cells.b, others.outcomes),
  }
}

const withB = /\bb$/

describe('the matrix of a function whose policy', () => {
  const names = [
    'allows nothing',
    'allows everything',
    'allows one port, one echo and one way in',
    'takes some of everything back',
    'names the host’s own addresses',
  ]
  it.each(names)('%s has no deviation', async (name) => {
    const round = roundsOf(outside).find((each) => each.name === name)
    if (!round) throw new Error(`there is no round '${name}'`)
    await putPolicy(a, a.name, round.policy)
    expect(await matrixNow()).toEqual(expectedOf(allCells(), round.reached))
  })

  it('is not there has no network at all', async () => {
    const name = await probeFunction(target, 'alone')
    const cells = cellsTo(peers)
    const { outcomes } = await askProbe(target, name, { cells, ms })
    expect(new Set(outcomes)).toEqual(new Set(['ENETUNREACH']))
  })
})

describe('negative control: without the filter', () => {
  const none = { rules: [] }
  it('of the one slot everybody is reached but another sandbox, which has a filter of its own', async () => {
    await putPolicy(a, a.name, none)
    await withoutFilter(target, [deviceOf(a.addresses[4])], async () => {
      const cells = allCells()
      const reached = cells.map(({ name }) => name).filter((name) => !withB.test(name))
      expect(await matrixNow()).toEqual(expectedOf(cells, reached))
    })
    // And it is back.
    expect(await matrixNow()).toEqual(expectedOf(allCells(), []))
  })

  it('of both slots every cell is reached', async () => {
    await putPolicy(a, a.name, none)
    await withoutFilter(target, [deviceOf(a.addresses[4]), deviceOf(b.addresses[4])], async () => {
      const cells = allCells()
      expect(await matrixNow()).toEqual(
        expectedOf(
          cells,
          cells.map(({ name }) => name),
        ),
      )
    })
  })
})

describe('the audit', () => {
  it('has each attempt of the matrix, of the right tenant, and nothing else', async () => {
    await putPolicy(a, a.name, wide)
    const since = Date.now()
    const outcomes = await matrixNow()
    const verdict = ({ name }: Cell): string => (outcomes[name] === 'reached' ? 'allowed' : 'denied')
    const flow = (cell: Cell, direction: string, remote: string): string =>
      `${verdict(cell)} ${direction} ${cell.protocol} ${canonical(remote)} ${cell.protocol === 'icmp' ? '' : cell.port}`
    const { own, stub, host, b: fromB } = attempts()
    const expected = [
      ...own.map((cell) => flow(cell, 'egress', cell.to)),
      ...[...stub, ...host].map((cell) => flow(cell, 'ingress', cell.source ?? '')),
    ]
    const told = async (member: Member): Promise<string[]> => {
      const records = await auditOf(member, member.name, since)
      return [
        ...new Set(
          records.flatMap((record) => {
            if (record.kind !== 'flow') return []
            const port = record.direction === 'egress' ? record.remotePort : record.localPort
            const { direction, protocol, remoteAddress } = record
            const where = `${canonical(remoteAddress)} ${protocol === 'icmp' ? '' : port}`
            return [`${record.verdict} ${direction} ${protocol} ${where}`]
          }),
        ),
      ].toSorted()
    }
    const patience = { timeout: 15_000, interval: 500 }
    await vi.waitFor(async () => expect(await told(a)).toEqual([...new Set(expected)].toSorted()), patience)
    // What B began ended at its own slot.
    const ofB = fromB.map((cell) => flow(cell, 'egress', cell.to)).toSorted()
    await vi.waitFor(async () => expect(await told(b)).toEqual(ofB), patience)
  })
})

const flowsOf = (to: Addresses, port: number, source?: Addresses) =>
  (['tcp', 'udp', 'icmp'] as const).flatMap((protocol) =>
    ([4, 6] as const).map((family) => ({
      protocol,
      to: to[family],
      port,
      ...(source ? { source: source[family] } : {}),
    })),
  )

interface Around {
  /** Epoch milliseconds: before the change was asked for, and when it was acknowledged. */
  readonly before: number
  readonly after: number
  readonly flows: readonly (LastAnswer & { readonly name: string })[]
}

/** Flows in both directions, and when each had its last answer; `change` comes in their midst. */
const lastAnswersAround = async (change: () => Promise<void>): Promise<Around> => {
  await putPolicy(a, a.name, wide)
  const internet = { 4: outside.address4, 6: outside.address6 }
  const streamMs = 6_000
  const out = flowsOf(internet, 7001)
  const into = flowsOf(a.addresses, servedPort, internet)
  const running = Promise.all([
    askProbe(a, a.name, { flows: out, streamMs, stayMs: streamMs + 1_000 }),
    probeFrom(outside.netns, { flows: into, streamMs }),
  ])
  await new Promise((resolve) => void setTimeout(resolve, 2_500))
  const before = Date.now()
  await change()
  const after = Date.now()
  const answers = (await running).flatMap(({ lastAnswers }) => lastAnswers)
  const flows = [...out, ...into].map(({ protocol, to }, at) => ({
    name: `${protocol} to ${to}`,
    at: answers[at]?.at ?? 0,
    ended: answers[at]?.ended ?? '',
  }))
  expect(flows).toHaveLength(12)
  return { before, after, flows }
}
const early = ({ before, flows }: Around) => flows.filter(({ at }) => at < before - 2_000)
const late = ({ after, flows }: Around) => flows.filter(({ at }) => at > after + 1_000)

describe('a flow that lives', () => {
  it.each([
    ['is taken away', () => deletePolicy(a, a.name)],
    ['allows it no longer', () => putPolicy(a, a.name, { rules: [] })],
    [
      'denies it',
      () =>
        putPolicy(a, a.name, {
          rules: [...wide.rules, ...wide.rules.map((rule) => ({ ...rule, action: 'deny' as const }))],
        }),
    ],
  ])('ends within a second when the policy %s', async (_how, change) => {
    const around = await lastAnswersAround(change)
    expect([early(around), late(around)]).toEqual([[], []])
  })

  it('negative control: goes on when another rule changes', async () => {
    const around = await lastAnswersAround(() =>
      putPolicy(a, a.name, { rules: [...wide.rules, { action: 'deny', protocol: 'any', cidr: '203.0.113.0/24' }] }),
    )
    expect(late(around)).toEqual(around.flows)
  })
})
