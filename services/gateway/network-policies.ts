/** The network policies of functions in the registry. Nodes follow the bucket; gateways read it when they are asked. */
import type { KV } from '@nats-io/kv'
import { Value } from 'typebox/value'
import { NetworkPolicyRecord } from '../contracts/network.ts'
import { registryKey } from '../contracts/subjects.ts'

export interface NetworkPolicies {
  get(tenant: string, name: string): Promise<NetworkPolicyRecord | undefined>
  put(tenant: string, name: string, record: NetworkPolicyRecord): Promise<void>
  /** Idempotent. */
  delete(tenant: string, name: string): Promise<void>
}

export const createNetworkPolicies = (kv: KV): NetworkPolicies => ({
  get: async (tenant, name) => {
    const entry = await kv.get(registryKey(tenant, name))
    return entry?.operation === 'PUT' ? Value.Parse(NetworkPolicyRecord, entry.json()) : undefined
  },
  put: async (tenant, name, record) => void (await kv.put(registryKey(tenant, name), JSON.stringify(record))),
  delete: async (tenant, name) => {
    const entry = await kv.get(registryKey(tenant, name))
    if (entry?.operation === 'PUT') await kv.delete(registryKey(tenant, name))
  },
})
