import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KV } from '@nats-io/kv'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSealer, SealError } from '../../chassis/sealing.ts'
import { createSigner, SignatureError } from '../../chassis/signing.ts'
import { bindingsPlace, type Bindings, type StoredBindings } from '../../contracts/bindings.ts'
import { networkPlace } from '../../contracts/network.ts'
import { bindingsKey, registryKey } from '../../contracts/subjects.ts'
import { createBindingStore } from '../../gateway/bindings.ts'
import { createNetworkPolicies } from '../../gateway/network-policies.ts'
import { memoryKv } from '../../gateway/testing/memory-kv.ts'
import { ReplayError, Serials } from './serials.ts'
import { SignedRecords } from './signed-records.ts'

const signer = createSigner([{ id: 's1', seed: '1'.repeat(64) }])
const sealer = createSealer([{ id: 'one', key: 'a'.repeat(64) }])
const bindings: Bindings = { api: { type: 'http', url: 'http://a' } }
const record = { bindings, addresses: { api: 0 } }
const key = bindingsKey('t', 'f')

let dir: string
let kv: KV
let node: SignedRecords
/** A node that starts with what is on its disk. */
const startNode = (): SignedRecords => {
  const serials = new Serials(join(dir, 'serials.json'), pino({ level: 'silent' }))
  return new SignedRecords({ verifier: signer, sealer, serials })
}
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'records-'))
  kv = memoryKv()
  node = startNode()
})
afterEach(() => rmSync(dir, { recursive: true }))

const gateway = () => createBindingStore({ kv, sealer, signer, adoptUnsigned: false })
const stored = async (of = key): Promise<StoredBindings> => (await kv.get(of))?.json<StoredBindings>() as never

describe('bindings on a node', () => {
  it('are those that a gateway wrote, until they are taken away', async () => {
    await gateway().put('t', 'f', bindings)
    expect(node.read(await stored(), key)).toEqual(record)
    await gateway().delete('t', 'f')
    expect(node.read(await stored(), key)).toBeUndefined()
  })

  it.each(['put', 'delete'] as const)('of before a %s are refused, also after a restart', async (change) => {
    await gateway().put('t', 'f', bindings)
    const earlier = await stored()
    // Negative control: nothing has followed yet.
    expect(node.read(earlier, key)).toEqual(record)
    await gateway()[change]('t', 'f', {})
    node.read(await stored(), key)
    expect(() => node.read(earlier, key)).toThrow(ReplayError)
    node.close()
    expect(() => startNode().read(earlier, key)).toThrow(ReplayError)
  })

  it('that a node could have made itself are refused: it has the key that seals, and not the one that signs', async () => {
    await gateway().put('t', 'f', bindings)
    const sealed = sealer.seal(JSON.stringify(record), bindingsPlace('t', 'f'))
    const forged = { ...(await stored()), sealed }
    expect(() => node.read(forged, key)).toThrow(SignatureError)
    // Negative control: signed, the same would be taken.
    const { signature: _signature, ...rest } = forged
    expect(node.read(signer.sign(networkPlace(key), rest), key)).toEqual(record)
  })

  it('of another function are refused, by signature and by seal', async () => {
    await gateway().put('t', 'g', bindings)
    const other = await stored(bindingsKey('t', 'g'))
    expect(() => node.read(other, key)).toThrow(SignatureError)
    const { signature: _signature, ...rest } = other
    expect(() => node.read(signer.sign(networkPlace(key), rest), key)).toThrow(SealError)
  })

  it('and the policy of the same function are counted apart', async () => {
    const lastModified = new Date().toISOString()
    await gateway().put('t', 'f', bindings)
    await createNetworkPolicies({ kv, signer, adoptUnsigned: false }).put('t', 'f', {
      policy: { rules: [] },
      lastModified,
    })
    const policy: unknown = await stored(registryKey('t', 'f'))
    expect(node.read(policy, registryKey('t', 'f'))).toEqual({ rules: [] })
    expect(node.read(await stored(), key)).toEqual(record)
    // Nor is one good in the other's place.
    expect(() => node.read(policy, key)).toThrow()
  })
})
