/** The network policies of functions in the registry (`signed-entries.ts`). */
import { Value } from 'typebox/value'
import { NetworkPolicyRecord, StoredNetworkPolicy } from '../contracts/network.ts'
import { registryKey } from '../contracts/subjects.ts'
import { createSignedEntries, type SignedEntryDeps } from './signed-entries.ts'

export interface NetworkPolicies {
  /** @throws SignatureError for one that no gateway of this installation wrote */
  get(tenant: string, name: string): Promise<NetworkPolicyRecord | undefined>
  put(tenant: string, name: string, record: NetworkPolicyRecord): Promise<void>
  /** Idempotent. */
  delete(tenant: string, name: string): Promise<void>
  /** After a rotation of the key, and with `adoptUnsigned` once: for all that there are. @returns how many */
  signAnew(): Promise<number>
}

export const createNetworkPolicies = (deps: SignedEntryDeps): NetworkPolicies => {
  const entries = createSignedEntries<Omit<StoredNetworkPolicy, 'signature'>>(deps, {
    what: 'the network policy',
    filter: registryKey('*', '*'),
    parse: (value) => Value.Parse(StoredNetworkPolicy, value),
    adopt: (value) => (Value.Check(NetworkPolicyRecord, value) ? value : undefined),
    isGone: ({ policy }) => policy === null,
    gone: (lastModified) => ({ policy: null, lastModified }),
  })
  return {
    get: async (tenant, name) => {
      const { policy, lastModified = '' } = (await entries.get(registryKey(tenant, name))) ?? {}
      return policy ? { policy, lastModified } : undefined
    },
    put: (tenant, name, { policy, lastModified }) =>
      entries.change(registryKey(tenant, name), () => ({ policy, lastModified })),
    delete: (tenant, name) => entries.remove(registryKey(tenant, name)),
    signAnew: () => entries.signAnew(),
  }
}
