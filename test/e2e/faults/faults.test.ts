/**
 * Parts of an installation die, stand still, or are cut off, while requests come in: every request gets its answer or a typed error in time,
 * nothing is answered twice or by somebody else, and nothing is left over.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { signedFetch } from '../../../services/cli/signed-fetch.ts'
import { createSignedClient, type SignedClient } from '../../bench/signed-invocation.ts'
import { createFunction, lambdaClient, uniqueName } from '../../support/lambda.ts'
import { configOf, leftoversOf } from '../host.ts'
import { installation } from '../installation.ts'
import { cutOff, mend, type Cut } from './fleet-network.ts'
import { nodeNames, type NodeName } from './fleet-place.ts'
import {
  connectionOf,
  createFleet,
  leaderOf,
  nodesOf,
  restart,
  signal,
  untilAllReport,
  untilReplaced,
  type Fleet,
  type Member,
} from './fleet.ts'
import { askNode, instancesOn } from './past-the-gateway.ts'
import { askOnce, count, echo, startLoad, type Load, type Outcome } from './load.ts'

const target = installation()
let fleet: Fleet
let client: SignedClient
const name = uniqueName('fault')
const perSecond = 10

const connections = () => fleet.gateways.map((gateway) => connectionOf(target, gateway))
const loads: Load[] = []
/** Ends with its test at the latest. */
const load = (event: object = {}): Load => {
  const started = startLoad(connections(), name, perSecond, event)
  loads.push(started)
  return started
}
afterEach(async () => {
  await Promise.all(loads.splice(0).map((each) => each.stop()))
})

beforeAll(async () => {
  fleet = await createFleet(target, { memoryMiB: 2048, instances: 16 })
  const [first] = connections()
  if (!first) throw new Error('no gateway')
  client = createSignedClient(first, 256)
  const api = lambdaClient(first)
  await createFunction(api, name, echo, { MemorySize: 128, Timeout: 60, Tags: { 'forkyard:keep-alive-ms': '600000' } })
  await everyNode()
})

afterAll(async () => {
  await client?.close()
  await fleet?.remove()
})

/** All three report, and some request was answered. */
const everyNode = async (): Promise<void> => {
  await untilAllReport(fleet)
  await untilAnswered()
}
const untilAnswered = () =>
  vi.waitFor(async () => expect((await askOnce(client, name)).what).toBe('ok'), { timeout: 30_000, interval: 200 })

/** What the platform says of itself; a gateway that is away says nothing. */
const typed = ['ok', 'INSTANCE_LOST', 'UNAVAILABLE', 'NO_CAPACITY', 'TOO_MANY_REQUESTS', 'NO_INSTANCE']
const unknown = (outcomes: readonly Outcome[], more: readonly string[] = []) =>
  outcomes.filter(({ what }) => !typed.includes(what) && !more.includes(what))

/** The longest time in which nobody was answered, in milliseconds. */
const longestPause = (outcomes: readonly Outcome[]): number => {
  const answered = outcomes.filter(({ what }) => what === 'ok').map(({ at, tookMs }) => at + tookMs)
  const times = answered.toSorted((a, b) => a - b)
  return Math.round(Math.max(...times.map((time, at) => time - (times[at - 1] ?? time))))
}

/** Requests that are being handled, on each node more than so many. */
const holdOnEach = async (holdMs: number, moreThan = 0): Promise<Promise<Outcome>[]> => {
  const held: Promise<Outcome>[] = []
  await vi.waitFor(
    async () => {
      const inFlight = await Promise.all(nodeNames.map(inFlightOn))
      const busy = inFlight.map((count) => count > moreThan)
      // More than are idle anywhere by then: the next ones start on the least loaded node.
      if (!busy.every(Boolean)) for (let each = 0; each < 3; each++) held.push(askOnce(client, name, { holdMs }))
      expect(busy).toEqual([true, true, true])
    },
    { timeout: 30_000, interval: 500 },
  )
  return held
}
const inFlightOn = async (node: NodeName): Promise<number> =>
  (await instancesOn(fleet.nodes[node])).reduce((sum, { inFlight }) => sum + inFlight, 0)

const noOrphans = () =>
  vi.waitFor(
    async () => {
      for (const node of nodeNames) expect(await leftoversOf(fleet.nodes[node].premises)).toEqual([])
    },
    { timeout: 30_000, interval: 500 },
  )

describe('after kill -9, under load, again and again, of', () => {
  const members: readonly (readonly [string, () => Member | Promise<Member>])[] = [
    ['a gateway', () => fleet.gateways[1]],
    ['the scheduler that leads', async () => (await leaderOf(fleet))[0]],
    ['a node agent', () => fleet.nodes.n2],
    ['NATS', () => fleet.nats],
  ]
  it.each(members)('%s: every request is answered, and nothing is left over', async (what, find) => {
    const running = load()
    for (let round = 0; round < 3; round++) {
      await delay(1_000)
      const member = await find()
      await untilReplaced(member, signal(member, 'SIGKILL'))
      await untilAnswered()
    }
    await delay(2_000)
    const outcomes = await running.stop()
    console.log(what, { pauseMs: longestPause(outcomes), ...count(outcomes) })
    // 5 s, on a machine that does other things too.
    expect(longestPause(outcomes)).toBeLessThan(15_000)
    // Of a gateway that is killed nobody else can answer what it had.
    const broken = what === 'a gateway' ? outcomes.filter(({ status }) => status === 0) : []
    expect(unknown(outcomes.filter((outcome) => !broken.includes(outcome)))).toEqual([])
    expect(outcomes.filter(({ what: is }) => is === 'ok').length).toBeGreaterThan(outcomes.length / 2)
    expect(count(outcomes.slice(-perSecond))).toEqual({ ok: perSecond })
    await noOrphans()
  })
})

describe('negative control: what a kill does', () => {
  it('past the gateway there is no answer and no typed error; and what is left over is seen, until it is removed', async () => {
    await everyNode()
    await Promise.all(await holdOnEach(3_000))
    const { n2 } = fleet.nodes
    // Told by the connection alone that it is over.
    const direct = askNode(n2, name, { n: 'direct', holdMs: 20_000 }).then(
      ({ status }) => status,
      (error: unknown) => (error as { code?: string }).code ?? 'unknown',
    )
    await vi.waitFor(async () => expect(await inFlightOn('n2')).toBeGreaterThan(0), { timeout: 20_000, interval: 50 })
    const before = signal(n2, 'SIGKILL')
    expect(await direct).toMatch(/^(UND_ERR_SOCKET|ECONNRESET)$/)
    await untilReplaced(n2, before)
    await noOrphans()
    await vi.waitFor(async () => {
      mkdirSync(join(n2.premises.runDir, 'i', 'deadbeefdeadbeef'), { recursive: true })
      expect(await leftoversOf(n2.premises)).toContain('deadbeefdeadbeef')
    })
    await noOrphans()
  })
})

describe('a node agent that stands still for 30 s', () => {
  it('loses what it had, gets nothing new, and its answers are refused when it goes on', async () => {
    await everyNode()
    // Idle instances everywhere.
    await Promise.all(await holdOnEach(3_000))
    await vi.waitFor(async () => expect(await inFlightOn('n1')).toBe(0), { timeout: 20_000, interval: 100 })
    // Negative control: the same, past the gateway that watches nodes.
    const control = askNode(fleet.nodes.n1, name, { n: 'stale', holdMs: 25_000 })
    await vi.waitFor(async () => expect(await inFlightOn('n1')).toBe(1), { timeout: 20_000, interval: 50 })
    const held = await holdOnEach(25_000, 1)
    const running = load()
    const stoppedAt = performance.now()
    signal(fleet.nodes.n1, 'SIGSTOP')
    let settled: Outcome[]
    try {
      settled = await Promise.all(held)
      await untilGone('n1')
      await delay(30_000 - (performance.now() - stoppedAt))
    } finally {
      signal(fleet.nodes.n1, 'SIGCONT')
    }
    const lost = settled.filter(({ what }) => what !== 'ok')
    expect(new Set(lost.map(({ what }) => what))).toEqual(new Set(['INSTANCE_LOST']))
    expect(settled.some(({ what }) => what === 'ok')).toBe(true)
    await everyNode()
    await delay(2_000)
    const outcomes = await running.stop()
    console.log('stood still', count(outcomes))
    expect(unknown(outcomes)).toEqual([])
    // Nobody got the answer to another request, and the last ones are as good as before.
    expect(count(outcomes.slice(-perSecond))).toEqual({ ok: perSecond })
    // The handler had run to its end: without the watch the stale answer comes, long after its caller was told that it is lost.
    const stale = await control
    expect(stale.status).toBe(200)
    expect(stale.at - stoppedAt).toBeGreaterThan(29_000)
    await noOrphans()
  }, 180_000)
})

const untilGone = (node: NodeName) =>
  vi.waitFor(async () => expect((await nodesOf(fleet)).map(({ nodeId }) => nodeId)).not.toContain(node), {
    timeout: 20_000,
    interval: 200,
  })

const reachable = async (node: NodeName): Promise<boolean> => {
  const { host, port } = configOf(fleet.nodes[node].premises, 'node-agent').listen
  return request(`http://${host}:${port}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
    () => true,
    () => false,
  )
}

/** The node is cut off while `use` runs. */
const whileCut = async (node: NodeName, cut: Cut, use: (cutAt: number) => Promise<void>): Promise<void> => {
  expect(await reachable(node)).toBe(true)
  await cutOff(fleet.id, node, cut)
  try {
    expect(await reachable(node)).toBe(false)
    await use(performance.now())
  } finally {
    await mend(fleet.id, node)
  }
}

describe('a node that is cut off', () => {
  it.each(['both', 'in', 'out'] as const)(
    '(%s) gets no placements after 10 s, and is back when it is not',
    async (cut) => {
      await everyNode()
      const running = load()
      let placeable: string[] = []
      let late: readonly Outcome[] = []
      await whileCut('n2', cut, async (cutAt) => {
        await delay(10_000)
        const from = performance.now()
        while (performance.now() - from < 5_000) {
          placeable = [...placeable, ...(await nodesOf(fleet)).map(({ nodeId }) => nodeId)]
          await delay(250)
        }
        late = running.outcomes.filter(({ at }) => at - cutAt > 10_000)
      })
      await everyNode()
      await Promise.all(await holdOnEach(6_000))
      const outcomes = await running.stop()
      console.log('cut off', cut, count(outcomes))
      expect([...new Set(placeable)].toSorted()).toEqual(['n1', 'n3'])
      expect(late.length).toBeGreaterThan(perSecond)
      expect(count(late)).toEqual({ ok: late.length })
      expect(unknown(outcomes)).toEqual([])
      await noOrphans()
    },
    180_000,
  )

  it('takes what it had in hand along, within 10 s; what it had not started goes elsewhere', async () => {
    await everyNode()
    const slow = uniqueName('slow-start')
    const [first] = connections()
    if (!first) throw new Error('no gateway')
    // What is there before a request would spare it the wait.
    await createFunction(
      lambdaClient(first),
      slow,
      `await new Promise((resolve) => setTimeout(resolve, 6_000))\n${echo}`,
      {
        MemorySize: 128,
        Timeout: 60,
      },
    )
    const held = await holdOnEach(20_000)
    const waiting = askOnce(client, slow)
    let on: string | undefined
    await vi.waitFor(
      async () => {
        const nodes = await nodesOf(fleet)
        on = nodes.find(({ instances }) => instances.some(({ revision }) => revision.name === slow))?.nodeId
        expect(on).toBeDefined()
      },
      { timeout: 10_000, interval: 50 },
    )
    const node = nodeNames.find((each) => each === on) ?? 'n1'
    let outcomes: Outcome[] = []
    await whileCut(node, 'both', async (cutAt) => {
      outcomes = await Promise.all(held)
      const lost = outcomes.filter(({ what }) => what !== 'ok')
      // Those who had begun are not begun again, though other nodes have room: that is how they differ from the one below.
      expect(lost.length).toBeGreaterThan(0)
      expect(count(lost)).toEqual({ INSTANCE_LOST: lost.length })
      const tookMs = lost.map(({ at, tookMs: ms }) => Math.round(at + ms - cutAt))
      console.log('lost after', tookMs, 'never started', await waiting)
      // 10 s, on a machine that does other things too.
      expect(Math.max(...tookMs)).toBeLessThan(15_000)
      expect((await waiting).what).toBe('ok')
    })
    await everyNode()
    const reports = await Promise.all(
      nodeNames.map(async (each) => [
        each,
        (await instancesOn(fleet.nodes[each])).some(({ revision }) => revision.name === slow),
      ]),
    )
    expect(reports.filter(([each, has]) => has && each !== node)).toHaveLength(1)
    await noOrphans()
  }, 180_000)
})

describe('a rolling restart under load', () => {
  it('fails nobody; a kill would', async () => {
    await everyNode()
    const running = load({ holdMs: 300 })
    await delay(1_000)
    const [leader, other] = await leaderOf(fleet)
    for (const member of [...Object.values(fleet.nodes), other, leader, ...fleet.gateways]) {
      await restart(member)
      // One that is ready may not have been heard of yet.
      await everyNode()
    }
    await delay(1_000)
    const outcomes = await running.stop()
    console.log('rolling restart', count(outcomes))
    expect(count(outcomes)).toEqual({ ok: outcomes.length })

    // What is in hand for longer than the kill takes to be seen: at 300 ms a node that was busy a moment ago may be idle when it dies.
    const held = await holdOnEach(10_000)
    await untilReplaced(fleet.nodes.n2, signal(fleet.nodes.n2, 'SIGKILL'))
    const control = await Promise.all(held)
    console.log('killed', count(control))
    const lost = control.filter(({ what }) => what !== 'ok')
    expect(lost.length).toBeGreaterThan(0)
    expect(count(lost)).toEqual({ INSTANCE_LOST: lost.length })
  }, 240_000)
})

const cordonOf = async (node: NodeName) => (await nodesOf(fleet)).find(({ nodeId }) => nodeId === node)?.cordon

describe('a node that cannot start sandboxes', () => {
  it('is cordoned by itself, stays so, and takes work again when it is uncordoned; functions that fail cordon nobody', async () => {
    await everyNode()
    const [first] = connections()
    if (!first) throw new Error('no gateway')
    const broken = uniqueName('broken')
    await createFunction(lambdaClient(first), broken, `throw new Error('on purpose')`, { MemorySize: 128 })
    for (let each = 0; each < 8; each++) expect((await askOnce(client, broken, {}, 'boot')).what).toBe('function')
    expect((await nodesOf(fleet)).filter(({ cordoned }) => cordoned)).toEqual([])

    const { n1 } = fleet.nodes
    const file = join(n1.premises.stateDir, 'services', 'node-agent', 'config.json')
    const original = readFileSync(file, 'utf8')
    // Says its version, and does nothing else.
    const runscPath = join(n1.premises.stateDir, 'broken-runsc')
    writeFileSync(runscPath, '#!/bin/sh\n[ "$1" = --version ]\n', { mode: 0o700 })
    writeFileSync(file, JSON.stringify({ ...JSON.parse(original), runscPath }))
    try {
      await restart(n1)
      await everyNode()
      await vi.waitFor(
        async () => {
          // Its caller does not notice: another node starts it.
          expect((await askOnce(client, name, {}, 'boot')).what).toBe('ok')
          expect(await cordonOf('n1')).toMatchObject({
            by: 'platform',
            reason: expect.stringMatching(/starts/) as string,
          })
        },
        { timeout: 60_000, interval: 100 },
      )
    } finally {
      writeFileSync(file, original)
      await restart(n1)
    }
    await everyNode()
    expect(await cordonOf('n1')).toMatchObject({ by: 'platform' })
    await signedFetch(first, { method: 'POST', path: '/forkyard/v1/nodes/n1/uncordon', body: {} })
    await vi.waitFor(async () => expect(await cordonOf('n1')).toBeUndefined(), { timeout: 20_000, interval: 200 })
    await Promise.all(await holdOnEach(6_000))
  }, 180_000)
})
