/** Somebody writes network policies into the store, past the gateways: none of them opens anything. */
import { jetstream } from '@nats-io/jetstream'
import { Kvm, type KV } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { NetworkPolicy, StoredNetworkPolicy } from '../../../services/contracts/network.ts'
import { buckets, registryKey } from '../../../services/contracts/subjects.ts'
import { deletePolicy, putPolicy } from '../../support/network-probe.ts'
import { startTrafficTarget, type TrafficTarget } from '../../support/traffic-target.ts'
import { natsOf, restartService } from '../host.ts'
import { installation } from '../installation.ts'
import { ask, networked } from '../networked.ts'

const target = installation()
const open: NetworkPolicy = { rules: [{ action: 'allow', protocol: 'any', cidr: '198.18.0.0/15' }] }
const shut: NetworkPolicy = { rules: [] }
const patience = { timeout: 10_000, interval: 100 }

let outside: TrafficTarget
let connection: NatsConnection
let kv: KV
let name: string

beforeAll(async () => {
  outside = await startTrafficTarget()
  connection = await natsOf(target)
  kv = await new Kvm(jetstream(connection)).open(buckets.network)
})
afterAll(async () => {
  await connection.close()
  outside.close()
})
beforeEach(async () => void (name = await networked('signed', open)))

const stored = async (of: string): Promise<StoredNetworkPolicy> => {
  const entry = await kv.get(registryKey('default', of))
  if (!entry) throw new Error(`${of} has no policy in the store`)
  return entry.json<StoredNetworkPolicy>()
}
/** @returns what the function reaches once the node has had time to hear of it. */
const plant = async (record: object): Promise<unknown[]> => {
  await kv.put(registryKey('default', name), JSON.stringify(record))
  await new Promise((resolve) => void setTimeout(resolve, 1_000))
  return reached()
}
const reached = (): Promise<unknown[]> => ask(name, [{ tcp: outside.address4, port: 7001 }])
const answered = () => [`${outside.host4} hello`]

describe('a network policy that was written past the gateways', () => {
  it.each<[string, (opened: StoredNetworkPolicy, other: StoredNetworkPolicy) => object]>([
    ['without a signature', ({ signature: _signature, ...rest }) => rest],
    ['with another policy under the same signature', (opened) => ({ ...opened, policy: { ...open, dns: ['*'] } })],
    ['with a higher number', (opened) => ({ ...opened, serial: opened.serial + 1_000_000 })],
    ['of another function', (_opened, other) => other],
    ['as it was in versions that signed nothing', ({ policy, lastModified }) => ({ policy, lastModified })],
  ])('%s opens nothing', async (_case, forge) => {
    const other = await networked('other', open)
    const opened = await stored(name)
    await putPolicy(target, name, shut)
    await vi.waitFor(async () => expect(await reached()).toEqual(['SILENT']), patience)
    expect(await plant(forge(opened, await stored(other)))).toEqual(['SILENT'])
    // Whatever lies there, the owner's next word counts.
    await putPolicy(target, name, open)
    await vi.waitFor(async () => expect(await reached()).toEqual(answered()), patience)
  })

  it.each<[string, () => Promise<void>]>([
    ['was changed', () => putPolicy(target, name, shut)],
    ['was taken away', () => deletePolicy(target, name)],
  ])('and is an earlier one that %s is refused, also after a restart of the node', async (_case, change) => {
    const opened = await stored(name)
    expect(await reached()).toEqual(answered())
    await change()
    await vi.waitFor(async () => expect(await reached()).toEqual(['SILENT']), patience)
    expect(await plant(opened)).toEqual(['SILENT'])
    await restartService(target, 'node-agent', 'SIGKILL')
    expect(await reached()).not.toEqual(answered())
  })

  it('negative control: and is the last that its owner set is as good as before', async () => {
    const opened = await stored(name)
    expect(await plant(opened)).toEqual(answered())
  })
})
