/**
 * Every way between a function and everybody else, by protocol, family and direction, under several policies: no cell deviates, each attempt is
 * in the audit, and what was revoked ends. The functions are real sandboxes of two tenants; the internet and a cloud's metadata
 * service are stubs in a network namespace.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import ipaddr from 'ipaddr.js'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createFunction, invoke, lambdaClient, uniqueName, type Connection } from '../../support/lambda.ts'
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
  probeFile,
  probeFrom,
  roundsOf,
  servedPort,
  wide,
  type Addresses,
  type Cell,
  type Peer,
  type Probed,
} from './acl-matrix.ts'

const target = installation()
const ms = 2_500
const canonical = (address: string): string => ipaddr.parse(address).toNormalizedString()
/** On which the host and the metadata service answer. */
const answeredPort = 7400
/** Routes for packets of the functions' slots alone. */
const table = 20_000 + (process.pid % 10_000)

interface Member extends Connection {
  readonly name: string
  readonly addresses: Addresses
}

let outside: TrafficTarget
const servers: ChildProcess[] = []
let a: Member
let b: Member
let peers: Peer[]

const run = (...[program, ...args]: [string, ...string[]]): string => execFileSync(program, args, { encoding: 'utf8' })

const ask = async (connection: Connection, name: string, event: object): Promise<Probed> => {
  const { json, text } = await invoke(lambdaClient(connection), name, { serve: servedPort, ...event })
  expect(json, text).toHaveProperty('outcomes')
  return json as Probed
}

const serveOn = (on: readonly string[], netns?: string): void => {
  const [program = '', ...args] = [...(netns ? ['ip', 'netns', 'exec', netns] : []), 'python3', probeFile]
  const server = spawn(program, args, { stdio: ['pipe', 'ignore', 'inherit'] })
  server.stdin.end(JSON.stringify({ serve: answeredPort, on, stayMs: 3_600_000 }))
  servers.push(server)
}

const createMember = async (connection: Connection, prefix: string): Promise<Member> => {
  const name = uniqueName(prefix)
  const code = { 'index.py': readFileSync(probeFile) }
  await createFunction(lambdaClient(connection), name, code, { Runtime: 'python3.11', MemorySize: 512 })
  await putPolicy(connection, name, wide)
  const { addresses } = await ask(connection, name, { towards: [outside.address4, outside.address6] })
  expect(addresses).toHaveLength(2)
  return { ...connection, name, addresses: { 4: addresses[0] ?? '', 6: addresses[1] ?? '' } }
}

beforeAll(async () => {
  outside = await startTrafficTarget()
  const inside = ['ip', '-n', outside.netns] as const
  run(...inside, 'addr', 'add', `${metadata[4]}/32`, 'dev', 'eth0')
  run(...inside, 'addr', 'add', `${metadata[6]}/128`, 'dev', 'eth0', 'nodad')
  serveOn([outside.host4, outside.host6])
  serveOn([metadata[4], metadata[6]], outside.netns)
  a = await createMember(target, 'a')
  b = await createMember(await createTenant(target), 'b')
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
    ask(a, a.name, { cells: cells.own, ms, stayMs: ms + 1_500, towards }),
    probeFrom(outside.netns, { cells: cells.stub, ms }),
    probeFrom(undefined, { cells: cells.host, ms }),
    ask(b, b.name, { cells: cells.b, ms, stayMs: ms + 1_500, towards }),
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
    const name = uniqueName('alone')
    const code = { 'index.py': readFileSync(probeFile) }
    await createFunction(lambdaClient(target), name, code, { Runtime: 'python3.11', MemorySize: 512 })
    const cells = cellsTo(peers)
    const { outcomes } = await ask(target, name, { cells, ms })
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

describe('a flow that lives', () => {
  const flowsOf = (to: Addresses, port: number, source?: Addresses) =>
    (['tcp', 'udp', 'icmp'] as const).flatMap((protocol) =>
      ([4, 6] as const).map((family) => ({
        protocol,
        to: to[family],
        port,
        ...(source ? { source: source[family] } : {}),
      })),
    )

  /** Flows in both directions, and when each had its last answer; `change` comes in their midst. */
  const lastAnswersAround = async (change: () => Promise<void>): Promise<{ at: number; last: number[] }> => {
    await putPolicy(a, a.name, wide)
    const internet = { 4: outside.address4, 6: outside.address6 }
    const streamMs = 6_000
    const running = Promise.all([
      ask(a, a.name, { flows: flowsOf(internet, 7001), streamMs, ms: 0, stayMs: streamMs + 1_000 }),
      probeFrom(outside.netns, { flows: flowsOf(a.addresses, servedPort, internet), streamMs, ms: 0 }),
    ])
    await new Promise((resolve) => void setTimeout(resolve, 2_500))
    await change()
    const at = Date.now()
    const [out, into] = await running
    return { at, last: [...out.lastAnswers, ...into.lastAnswers] }
  }

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
    const { at, last } = await lastAnswersAround(change)
    expect(last).toHaveLength(12)
    for (const each of last) {
      expect(each).toBeGreaterThan(at - 2_000)
      expect(each).toBeLessThan(at + 1_000)
    }
  })

  it('negative control: goes on when another rule changes', async () => {
    const { at, last } = await lastAnswersAround(() =>
      putPolicy(a, a.name, { rules: [...wide.rules, { action: 'deny', protocol: 'any', cidr: '203.0.113.0/24' }] }),
    )
    for (const each of last) expect(each).toBeGreaterThan(at + 1_000)
  })
})
