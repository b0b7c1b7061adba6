/** Which sandbox has which slot and policy, and when: with maps, links and gVisor as their callers see them. */
import { pino } from 'pino'
import { beforeEach, describe, expect, it } from 'vitest'
import type { VersionConfig } from '../../contracts/function.ts'
import type { NetworkPolicy } from '../../contracts/network.ts'
import type { NetworkLink } from '../sandbox/control.ts'
import { addressPlan, formatAddress, slotAddresses } from './addresses.ts'
import type { Entries } from './map-encoding.ts'
import { NodeNetwork } from './node-network.ts'
import { PolicyTable } from './policy-table.ts'

const plan = addressPlan('forkyard-test')
const config = { tenant: 'one', name: 'f', version: '1' } as VersionConfig
const policy: NetworkPolicy = { rules: [{ action: 'allow', protocol: 'tcp', cidr: '192.0.2.0/24' }] }

const each = ({ count, keys }: Pick<Entries, 'count' | 'keys'>) =>
  Array.from({ length: count }, (_, at) => keys.subarray((at * keys.length) / count, ((at + 1) * keys.length) / count))

/** Entries by map, as the kernel would have them. `limit` is that of rules. */
const fakeMaps = () => {
  const maps = new Map<string, Map<string, Buffer>>()
  const of = (name: string) => maps.get(name) ?? maps.set(name, new Map()).get(name) ?? new Map<string, Buffer>()
  const state = {
    limit: Infinity,
    update: (name: string, entries: Entries) => {
      for (const [at, key] of each(entries).entries()) {
        const full = name === 'rules' && of(name).size >= state.limit && !of(name).has(key.toString('hex'))
        if (full) throw new Error('the map is full')
        const size = entries.values.length / entries.count
        of(name).set(key.toString('hex'), entries.values.subarray(at * size, (at + 1) * size))
      }
    },
    delete: (name: string, entries: Pick<Entries, 'count' | 'keys'>) => {
      for (const key of each(entries)) of(name).delete(key.toString('hex'))
    },
    size: (name: string) => of(name).size,
    /** Lease and policy number of each slot. */
    slots: () => [...of('slots').values()].map((value) => [value.readUInt32LE(0), value.readUInt32LE(4)]),
  }
  return state
}

let maps: ReturnType<typeof fakeMaps>
let given: number[]
let tracing: () => Promise<void>
let network: NodeNetwork

const sandbox = (id: string, links: NetworkLink[] = []) => {
  const exited = Promise.withResolvers<void>()
  const removed = Promise.withResolvers<void>()
  return {
    links,
    endpoint: { invocationAt: () => undefined },
    sandbox: {
      id,
      connect: async (link: NetworkLink) => void links.push(link),
      traceSockets: async () => undefined,
      exited: exited.promise,
      removed: removed.promise,
    },
    end: async () => {
      exited.resolve()
      removed.resolve()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

beforeEach(() => {
  maps = fakeMaps()
  given = []
  tracing = async () => undefined
  let next = 0
  const pool = {
    take: async () => ({ number: ++next, ifindex: 100 + next, socket: 7, addresses: slotAddresses(plan, next) }),
    give: async ({ number }: { number: number }) => void given.push(number),
    fill: () => undefined,
  }
  network = new NodeNetwork({
    maps: maps as never,
    table: new PolicyTable(maps as never),
    pool: pool as never,
    plan,
    mtu: 1400,
    traces: { begin: () => tracing() },
    tellResolver: () => undefined,
    logger: pino({ level: 'silent' }),
  })
})

describe('a sandbox', () => {
  it('of a function without a policy gets nothing, and costs nothing', () => {
    expect(network.connect(sandbox('a'), config)).toBe(undefined)
    expect([maps.size('slots'), maps.size('rules')]).toEqual([0, 0])
  })

  it('of one with a policy has its link when it is connected, and its slot is shut when it ends', async () => {
    network.change('one.f', policy)
    const one = sandbox('a')
    await network.connect(one, config)
    expect(one.links).toMatchObject([{ mtu: 1400, socket: 7, addresses: [{ bytes: 4 }, { bytes: 16 }] }])
    expect(maps.slots()).toEqual([[1, 1]])
    const address = formatAddress(slotAddresses(plan, 1).v4)
    expect(network.askerAt(address)?.tenancy.instanceId).toBe('a')
    await one.end()
    expect([maps.slots(), given, network.askerAt(address)]).toEqual([[], [1], undefined])
    // Its last events are still to be read.
    expect(network.tenancyOf(1)?.instanceId).toBe('a')
  })

  it('that is expected tells of its calls from then on, and once; it has its link when it is connected', async () => {
    let begun = 0
    tracing = async () => void begun++
    network.change('one.f', policy)
    const one = sandbox('a')
    network.expect(one, config)
    expect([begun, one.links.length]).toEqual([1, 0])
    await network.connect(one, config)
    expect([begun, one.links.length]).toEqual([1, 1])
    network.expect(sandbox('b'), { ...config, name: 'without' })
    expect(begun).toBe(1)
  })

  it('that runs gets its link when the policy comes, and once', async () => {
    const one = sandbox('a')
    void network.connect(one, config)
    network.change('one.f', policy)
    network.change('one.f', policy)
    await expect.poll(() => one.links.length).toBe(1)
    network.change('two.f', policy)
    expect(one.links).toHaveLength(1)
  })
})

describe('a sandbox whose calls cannot be told', () => {
  beforeEach(() => {
    tracing = () => Promise.reject(new Error('refused'))
  })

  it.each([false, true])('has no network, and its start fails (expected: %s)', async (expected) => {
    network.change('one.f', policy)
    const one = sandbox('a')
    if (expected) network.expect(one, config)
    await expect(network.connect(one, config)).rejects.toThrow('refused')
    expect(maps.slots()).toEqual([])
    network.change('one.f', policy)
    expect(maps.slots()).toEqual([])
    await one.end()
    expect(given).toEqual([1])
  })

  it('that runs when the policy comes stays without a network', async () => {
    const one = sandbox('a')
    void network.connect(one, config)
    network.change('one.f', policy)
    await expect.poll(() => one.links.length).toBe(1)
    await expect.poll(() => maps.slots()).toEqual([])
  })
})

describe('a change of the policy', () => {
  it('has a number of its own, and leaves nothing of the one before', async () => {
    network.change('one.f', policy)
    await network.connect(sandbox('a'), config)
    const before = maps.size('rules')
    network.change('one.f', { rules: [{ action: 'deny', protocol: 'any', cidr: '192.0.2.0/24' }] })
    expect(maps.slots()).toEqual([[1, 2]])
    expect(maps.size('rules')).toBe(before)
    network.change('one.f', undefined)
    expect([maps.slots(), maps.size('rules'), maps.size('ports')]).toEqual([[[1, 0]], 0, 0])
  })

  it('that does not fit makes room among those that nobody uses, and else opens nothing', async () => {
    network.change('one.f', policy)
    const one = sandbox('a')
    await network.connect(one, config)
    await one.end()
    maps.limit = 1
    network.change('one.g', policy)
    await network.connect(sandbox('b'), { ...config, name: 'g' })
    expect([maps.size('rules'), maps.slots()]).toEqual([1, [[2, 3]]])
    maps.limit = 0
    network.change('one.g', policy)
    expect(maps.slots()).toEqual([[2, 0]])
  })
})
