/**
 * The network policies of functions in the registry, signed, each with a number that only grows. Nodes follow the bucket; gateways read it when
 * they are asked.
 */
import type { KV, KvEntry } from '@nats-io/kv'
import { Value } from 'typebox/value'
import { isConflict } from '../chassis/nats.ts'
import type { Signer } from '../chassis/signing.ts'
import { PlatformError } from '../contracts/errors.ts'
import { networkPlace, NetworkPolicyRecord, StoredNetworkPolicy } from '../contracts/network.ts'
import { registryKey } from '../contracts/subjects.ts'

export interface NetworkPolicies {
  /** @throws SignatureError for one that no gateway of this installation wrote */
  get(tenant: string, name: string): Promise<NetworkPolicyRecord | undefined>
  put(tenant: string, name: string, record: NetworkPolicyRecord): Promise<void>
  /** Idempotent. */
  delete(tenant: string, name: string): Promise<void>
  /** After a rotation of the key, and with `adoptUnsigned` once: for all that there are. @returns how many */
  signAnew(): Promise<number>
}

export interface NetworkPolicyDeps {
  readonly kv: KV
  readonly signer: Signer
  /** Takes what has no signature for good (`registry.ts`). */
  readonly adoptUnsigned: boolean
}

const casAttempts = 20

type Unsigned = Omit<StoredNetworkPolicy, 'signature'>

export const createNetworkPolicies = ({ kv, signer, adoptUnsigned }: NetworkPolicyDeps): NetworkPolicies => {
  const read = (entry: KvEntry): Unsigned => {
    const value: unknown = entry.json()
    // From a version that neither signed nor counted.
    if (adoptUnsigned && Value.Check(NetworkPolicyRecord, value)) return { ...value, serial: 0 }
    return signer.check(networkPlace(entry.key), Value.Parse(StoredNetworkPolicy, value))
  }
  const tryRead = (entry: KvEntry): Unsigned | undefined => {
    try {
      return read(entry)
    } catch {
      return undefined
    }
  }
  const write = async (entry: KvEntry | null, key: string, stored: Unsigned): Promise<void> => {
    const text = JSON.stringify(signer.sign(networkPlace(key), stored))
    await (entry?.operation === 'PUT' ? kv.update(key, text, entry.revision) : kv.create(key, text))
  }
  const change = async (
    key: string,
    policy: NetworkPolicyRecord['policy'] | null,
    lastModified: string,
  ): Promise<void> => {
    for (let attempt = 1; attempt <= casAttempts; attempt++) {
      const entry = await kv.get(key)
      const isThere = entry?.operation === 'PUT'
      // What somebody else wrote there is overwritten, and counts for nothing.
      const known = isThere ? tryRead(entry) : undefined
      if (policy === null && (!isThere || known?.policy === null)) return
      const serial = Math.max(Date.now(), (known?.serial ?? 0) + 1)
      try {
        return await write(entry, key, { policy, lastModified, serial })
      } catch (error) {
        if (!isConflict(error)) throw error
      }
    }
    throw new PlatformError('ALREADY_EXISTS', `An update is in progress for the network policy ${key}`)
  }
  return {
    get: async (tenant, name) => {
      const entry = await kv.get(registryKey(tenant, name))
      if (entry?.operation !== 'PUT') return undefined
      const { policy, lastModified } = read(entry)
      return policy === null ? undefined : { policy, lastModified }
    },
    put: (tenant, name, { policy, lastModified }) => change(registryKey(tenant, name), policy, lastModified),
    delete: (tenant, name) => change(registryKey(tenant, name), null, new Date().toISOString()),
    signAnew: async () => {
      let signed = 0
      for await (const entry of await kv.history({ key: registryKey('*', '*') })) {
        if (entry.operation !== 'PUT' || !signer.isOld(entry.json())) continue
        const known = tryRead(entry)
        // What is nobody's stays refused.
        if (!known) continue
        try {
          await write(entry, entry.key, known)
          signed++
        } catch (error) {
          // Somebody else changed it, and signed it with that.
          if (!isConflict(error)) throw error
        }
      }
      return signed
    },
  }
}
