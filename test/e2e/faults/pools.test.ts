/** Pools of nodes on three nodes with real sandboxes: who runs where, who may have how much, and what stays when a node is lost. */
import {
  GetProvisionedConcurrencyConfigCommand,
  PublishVersionCommand,
  PutProvisionedConcurrencyConfigCommand,
} from '@aws-sdk/client-lambda'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { ResourcePool } from '../../../services/contracts/resource-pool.ts'
import { createSignedClient, type SignedClient } from '../../bench/signed-invocation.ts'
import { createFunction, invoke, lambdaClient, uniqueName, type Connection } from '../../support/lambda.ts'
import { installation } from '../installation.ts'
import { createTenant } from '../tenants.ts'
import { cutOff, mend } from './fleet-network.ts'
import { connectionOf, createFleet, nodesOf, untilAllReport, type Fleet } from './fleet.ts'
import { askOnce, count, echo, type Outcome } from './load.ts'

const target = installation()
/** Of each node: four instances of 128 MiB. `default` has two of them, `blue` the third. */
const capacity = { memoryMiB: 512, instances: 64 }
const pools: ResourcePool[] = [
  { name: 'blue', onlyChosen: true, functionLimit: { instances: 2 } },
  { name: 'default', weights: { acme: 3 }, reserved: { acme: { instances: 2, memoryMiB: 128 } } },
]
/** Gone when they have answered, so that what counts is what runs. */
const gone = { 'forkyard:keep-alive-ms': '0' }

let fleet: Fleet
let own: Connection
let acme: Connection
let client: SignedClient
let acmeClient: SignedClient

beforeAll(async () => {
  fleet = await createFleet(target, capacity, {
    scheduler: { pools },
    gateway: { pools },
    node: (name) => ({ pools, pool: name === 'n3' ? 'blue' : 'default' }),
  })
  own = connectionOf(target, fleet.gateways[0])
  await untilAllReport(fleet)
  acme = await createTenant(own, 'acme')
  client = createSignedClient(own, 64)
  acmeClient = createSignedClient(acme, 64)
})
afterAll(async () => {
  await Promise.all([client?.close(), acmeClient?.close()])
  await fleet?.remove()
})

const make = async (as: Connection, tags: Record<string, string> = gone): Promise<string> => {
  const name = uniqueName('pools')
  await createFunction(lambdaClient(as), name, echo, { MemorySize: 128, Timeout: 60, Tags: tags })
  return name
}

/** Where instances of a function are, by node, those without any left out. */
const whereIs = async (name: string): Promise<Record<string, number>> => {
  const all = (await nodesOf(fleet)).map(({ nodeId, instances }): [string, number] => [
    nodeId,
    instances.filter(({ revision }) => revision.name === name).length,
  ])
  const some = all.filter(([, instances]) => instances > 0)
  return Object.fromEntries(some.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
const instancesOf = async (name: string): Promise<number> =>
  Object.values(await whereIs(name)).reduce((sum, instances) => sum + instances, 0)

/** So many invocations at the same time, all of which hold an instance. */
const hold = async (
  by: SignedClient,
  name: string,
  invocations: number,
  holdMs: number,
): Promise<Promise<Outcome>[]> => {
  const held = Array.from({ length: invocations }, () => askOnce(by, name, { holdMs }))
  await vi.waitFor(async () => expect(await instancesOf(name)).toBe(invocations), { timeout: 30_000, interval: 100 })
  return held
}
const untilEmpty = () =>
  vi.waitFor(async () => expect((await nodesOf(fleet)).flatMap(({ instances }) => instances)).toEqual([]), {
    timeout: 40_000,
    interval: 200,
  })

describe('pools of nodes', () => {
  it('have their own functions alone; a limit and a full pool stop at the pool, whatever room others have', async () => {
    const [blue, plain] = [await make(own, { ...gone, 'forkyard:pool': 'blue' }), await make(own)]
    // Six of eight: two places are kept for another tenant.
    const held = [...(await hold(client, blue, 2, 20_000)), ...(await hold(client, plain, 6, 20_000))]
    expect(await whereIs(blue)).toEqual({ n3: 2 })
    expect(Object.keys(await whereIs(plain))).toEqual(['n1', 'n2'])
    // The third of blue is over its limit; the seventh of the others finds no room, though blue has two places.
    expect(await askOnce(client, blue)).toMatchObject({ status: 429, what: 'TOO_MANY_REQUESTS' })
    expect(await askOnce(client, plain)).toMatchObject({ status: 503, what: 'NO_CAPACITY' })
    // Negative control: there is room, for whom it is kept.
    const theirs = await make(acme)
    expect(count(await Promise.all([1, 2].map(() => askOnce(acmeClient, theirs, { holdMs: 500 }))))).toEqual({ ok: 2 })
    expect(count(await Promise.all(held))).toEqual({ ok: held.length })
    await untilEmpty()
  })

  it('share a full pool by weight, and starve nobody', async () => {
    const [plain, theirs] = [await make(own), await make(acme)]
    const until = performance.now() + 25_000
    const answered = { plain: 0, theirs: 0 }
    const caller = async (who: keyof typeof answered, from: number): Promise<void> => {
      while (performance.now() < until) {
        const { what } = await askOnce(who === 'plain' ? client : acmeClient, who === 'plain' ? plain : theirs, {
          holdMs: 1_000,
        })
        if (what === 'ok' && performance.now() > from) answered[who]++
        if (what !== 'ok') await delay(50)
      }
    }
    const many = (who: keyof typeof answered, from: number) => Array.from({ length: 10 }, () => caller(who, from))
    const first = many('plain', until - 12_000)
    // All but what is kept, as long as nobody else comes.
    await vi.waitFor(async () => expect(await instancesOf(plain)).toBe(6), { timeout: 12_000, interval: 50 })
    const second = many('theirs', until - 12_000)
    const seen: { plain: number; theirs: number }[] = []
    while (performance.now() < until) {
      if (performance.now() > until - 12_000)
        seen.push({ plain: await instancesOf(plain), theirs: await instancesOf(theirs) })
      await delay(250)
    }
    await Promise.all([...first, ...second])
    const mean = (who: keyof typeof answered): number => seen.reduce((sum, each) => sum + each[who], 0) / seen.length
    console.log('shares of eight places', { plain: mean('plain'), theirs: mean('theirs'), answered })
    // 3 to 1 of eight places; what is kept for it alone would be two.
    expect(mean('theirs')).toBeGreaterThan(3.5)
    expect(mean('theirs')).toBeGreaterThan(mean('plain'))
    expect(answered.plain).toBeGreaterThan(0)
    await untilEmpty()
  }, 180_000)
})

describe('a node of the pool that is lost', () => {
  it('takes its provisioned instances along, which others of the pool make anew', async () => {
    const name = await make(own)
    const api = lambdaClient(own)
    const { Version: Qualifier = '' } = await api.send(new PublishVersionCommand({ FunctionName: name }))
    const version = { FunctionName: name, Qualifier }
    await api.send(new PutProvisionedConcurrencyConfigCommand({ ...version, ProvisionedConcurrentExecutions: 2 }))
    const untilReady = (where: Record<string, number>) =>
      vi.waitFor(
        async () => {
          expect(await whereIs(name)).toEqual(where)
          expect(await api.send(new GetProvisionedConcurrencyConfigCommand(version))).toMatchObject({
            Status: 'READY',
            AvailableProvisionedConcurrentExecutions: 2,
          })
        },
        { timeout: 60_000, interval: 200 },
      )
    await untilReady({ n1: 1, n2: 1 })
    await cutOff(fleet.id, 'n1', 'both')
    try {
      await untilReady({ n2: 2 })
      expect((await nodesOf(fleet)).map(({ nodeId }) => nodeId).toSorted()).toEqual(['n2', 'n3'])
      const calls = [1, 2].map((n) => invoke(api, name, { n, holdMs: 1_000 }, { Qualifier }))
      expect((await Promise.all(calls)).map(({ startType }) => startType)).toEqual(['warm', 'warm'])
    } finally {
      await mend(fleet.id, 'n1')
    }
    await untilAllReport(fleet)
  })
})
