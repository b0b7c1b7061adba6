/** Somebody writes bindings into the store, past the gateways: a function uses none of them. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { jetstream } from '@nats-io/jetstream'
import { Kvm, type KV } from '@nats-io/kv'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createSealer } from '../../../services/chassis/sealing.ts'
import { signedFetch } from '../../../services/cli/signed-fetch.ts'
import { bindingsPlace, type Bindings, type StoredBindings } from '../../../services/contracts/bindings.ts'
import { bindingsKey, buckets } from '../../../services/contracts/subjects.ts'
import { createFunction, invoke, lambdaClient, uniqueName } from '../../support/lambda.ts'
import { startTrafficTarget, type TrafficTarget } from '../../support/traffic-target.ts'
import { configOf, natsOf, restartService } from '../host.ts'
import { installation } from '../installation.ts'

const target = installation()
const client = lambdaClient(target)
const patience = { timeout: 10_000, interval: 100 }

/** Says which credential came. Without the binding its name leads nowhere, and is not even answered where there is no network any more. */
const source = `export const handler = async () => {
  try { return await (await fetch('http://api.internal/', { signal: AbortSignal.timeout(2000) })).text() }
  catch { return 'nothing' }
}`

let outside: TrafficTarget
let api: Server
let connection: NatsConnection
let kv: KV
let name: string

const withToken = (token: string): Bindings => ({
  api: {
    type: 'http',
    url: `http://${outside.host4}:${(api.address() as AddressInfo).port}`,
    headers: { authorization: token },
  },
})
const [before, after] = ['token-of-before', 'token-of-now']
const unbound = 'nothing'

beforeAll(async () => {
  outside = await startTrafficTarget()
  api = createServer((request, response) => response.end(request.headers.authorization)).listen(0, outside.host4)
  await once(api, 'listening')
  connection = await natsOf(target)
  kv = await new Kvm(jetstream(connection)).open(buckets.network)
})
afterAll(async () => {
  await connection.close()
  api.closeAllConnections()
  api.close()
  outside.close()
})

const pathOf = (of: string): string => `/forkyard/v1/functions/${of}/bindings`
const bind = async (of: string, token: string): Promise<unknown> =>
  signedFetch(target, { method: 'PUT', path: pathOf(of), body: { bindings: withToken(token) } })
const unbind = async (of: string): Promise<unknown> => signedFetch(target, { method: 'DELETE', path: pathOf(of) })
const bound = async (token: string): Promise<string> => {
  const of = uniqueName('bound')
  await createFunction(client, of, source, { MemorySize: 256, Timeout: 30 })
  await bind(of, token)
  await vi.waitFor(async () => expect(await used(of)).toBe(token), patience)
  return of
}
beforeEach(async () => void (name = await bound(before)))

const used = async (of = name): Promise<unknown> => (await invoke(client, of)).json
const stored = async (of = name): Promise<StoredBindings> => {
  const entry = await kv.get(bindingsKey('default', of))
  if (!entry) throw new Error(`${of} has no bindings in the store`)
  return entry.json<StoredBindings>()
}
/** @returns what the function uses once the node has had time to hear of it. */
const plant = async (record: object): Promise<unknown> => {
  await kv.put(bindingsKey('default', name), JSON.stringify(record))
  await new Promise((resolve) => void setTimeout(resolve, 1_000))
  return used()
}

/** Somebody who took a node over, and with it the key that seals. */
const sealAsNode = (bindings: Bindings): string =>
  createSealer(configOf(target, 'node-agent').environmentKeys).seal(
    JSON.stringify({ bindings, addresses: { api: 0 } }),
    bindingsPlace('default', name),
  )

describe('bindings that were written past the gateways', () => {
  it.each<[string, (signed: StoredBindings, other: StoredBindings) => object]>([
    ['without a signature', ({ signature: _signature, ...rest }) => rest],
    ['with a higher number', (signed) => ({ ...signed, serial: signed.serial + 1_000_000 })],
    ['of another function', (_signed, other) => other],
    ['sealed with the key of a node', (signed) => ({ ...signed, sealed: sealAsNode(withToken('forged')) })],
    [
      'as they were in versions that signed nothing',
      ({ lastModified }) => ({ sealed: sealAsNode(withToken('forged')), lastModified }),
    ],
  ])('%s bind nothing', async (_case, forge) => {
    const other = await bound('token-of-another')
    expect(await plant(forge(await stored(), await stored(other)))).toBe(unbound)
    // Whatever lies there, the owner's next word counts.
    await bind(name, after)
    await vi.waitFor(async () => expect(await used()).toBe(after), patience)
  })

  it.each<[string, () => Promise<unknown>, string]>([
    ['were changed', () => bind(name, after), after],
    ['were taken away', () => unbind(name), unbound],
  ])('and are earlier ones that %s are refused, also after a restart of the node', async (_case, change, then) => {
    const earlier = await stored()
    await change()
    await vi.waitFor(async () => expect(await used()).toBe(then), patience)
    expect(await plant(earlier)).toBe(unbound)
    await restartService(target, 'node-agent', 'SIGKILL')
    expect(await used()).toBe(unbound)
  })

  it('negative control: and are the last that their owner set are as good as before', async () => {
    expect(await plant(await stored())).toBe(before)
  })
})
