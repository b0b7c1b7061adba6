/** Brings the network of a node up: the filter, the host's side, the policies, names, the audit. A node that cannot have it serves functions without one. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../chassis/log.ts'
import type { Store } from '../../chassis/nats.ts'
import { ownerOf } from '../../chassis/sealed-bindings.ts'
import type { Sealer } from '../../chassis/sealing.ts'
import type { Verifier } from '../../chassis/signing.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import type { NetworkPolicy } from '../../contracts/network.ts'
import { bindingsKey, registryKey } from '../../contracts/subjects.ts'
import { BatchPublisher } from '../batch-publisher.ts'
import { BoundFunctions } from '../bindings/bound-functions.ts'
import { EffectivePolicies } from '../bindings/effective-policies.ts'
import { createFunctionCaller } from '../bindings/function-calls.ts'
import { followGateways, Gateways } from '../bindings/gateways.ts'
import { startBindingProxy } from '../bindings/proxy.ts'
import { Reach } from '../bindings/reach.ts'
import type { NodeAgentConfig } from '../config.ts'
import type { Callers } from '../node-gateway/node-gateway.ts'
import type { NetworkCalls, TraceCalls } from '../sandbox/host-calls.ts'
import { socketDir } from '../sandbox/place.ts'
import { formatAddress, type AddressPlan } from './addresses.ts'
import { FilterMaps } from './filter-maps.ts'
import { Audit, startFlowAudit } from './flow-audit.ts'
import { followRecords } from './follow-records.ts'
import { masquerade, removeMasquerade } from './forwarding.ts'
import { choosePlan, makeGateway, outsideMtu, removeHostNetwork } from './host-network.ts'
import { keepHost } from './keep-host.ts'
import { settingsEntry } from './map-encoding.ts'
import type { NetworkMetrics } from './network-metrics.ts'
import { NodeNetwork } from './node-network.ts'
import { PolicyTable } from './policy-table.ts'
import { Resolver } from './resolver.ts'
import { Serials } from './serials.ts'
import { SignedRecords } from './signed-records.ts'
import { SlotPool } from './slot-pool.ts'
import { SocketTraces } from './socket-traces.ts'
import { hostUpstreams, parseUpstream } from './upstream.ts'

export interface NetworkDeps {
  readonly config: NodeAgentConfig
  readonly calls: NetworkCalls & TraceCalls
  readonly store: Pick<Store, 'connection' | 'network' | 'js'>
  /** Opens bindings, which hold credentials. */
  readonly sealer: Sealer
  /** Knows the policies and bindings that gateways of this installation wrote. */
  readonly verifier: Verifier
  /** In whose name functions call others. */
  readonly callers: Callers
  readonly logger: Logger
  readonly metrics: NetworkMetrics
}

/** What a start needs of it. */
export type SandboxNetworks = Pick<NodeNetwork, 'expect' | 'connect'>

export interface RunningNetwork {
  readonly networks: SandboxNetworks
  /** Variables by which clients in the function find what it is bound to. */
  environment(config: VersionConfig): Record<string, string>
  /** After the last sandbox. */
  close(): Promise<void>
}

const sweepMs = 1_000

/** Rejects only when the policies cannot be read. */
export const startNetwork = async (deps: NetworkDeps): Promise<RunningNetwork> => {
  const undo: Undo = []
  try {
    return await start(deps, undo)
  } catch (err) {
    deps.logger.error({ err }, 'this node has no network for sandboxes')
    await undoAll(undo).catch(() => undefined)
    return withoutNetwork(deps, err instanceof Error ? err.message : String(err))
  }
}

/** Last in, first out. */
type Undo = (() => unknown)[]
const undoAll = async (undo: Undo): Promise<void> => {
  for (const step of undo.splice(0).toReversed()) await step()
}

/** A function with a policy is not started here: it would run without what it was promised. */
const withoutNetwork = async (deps: NetworkDeps, reason: string): Promise<RunningNetwork> => {
  const { store, logger } = deps
  const keys = new Set<string>()
  const onChange = (key: string, record: unknown): void => void (record ? keys.add(key) : keys.delete(key))
  const records = openRecords(deps)
  const read = (value: unknown, key: string): unknown => records.read(value, key)
  const close = await followRecords({ ...bucketOf(store), logger, filter: '>', read, onChange })
  const connect = (_instance: unknown, { tenant, name }: VersionConfig): Promise<void> | undefined =>
    keys.has(registryKey(tenant, name)) || keys.has(bindingsKey(tenant, name))
      ? Promise.reject(new PlatformError('NO_CAPACITY', `this node has no network for sandboxes: ${reason}`))
      : undefined
  return {
    networks: { expect: () => undefined, connect },
    environment: () => ({}),
    close: async () => {
      close()
      records.close()
    },
  }
}

const start = async (deps: NetworkDeps, undo: Undo): Promise<RunningNetwork> => {
  const { config, calls, store, callers, logger, metrics } = deps
  const { runDir, nodeId, cgroupParent: owner, capacity } = config
  const { ahead, max, resolvers } = config.network
  const plan = await choosePlan(owner)
  await removeHostNetwork(plan, runDir)
  undo.push(() => removeHostNetwork(plan, runDir))
  const maps = await FilterMaps.load(calls, runDir)
  undo.push(() => maps.close())
  maps.update('settings', settingsEntry(plan.gateway4, plan.gateway6))
  await makeGateway(plan)
  undo.push(() => removeMasquerade(owner))
  await masquerade(owner, plan)
  const gateways = new Gateways()
  undo.push(followGateways(store.connection, gateways))
  const host = keepHost({ config, maps, plan, gateways, logger })
  undo.push(() => host.close())

  const onLost = (records: number): void => metrics.auditRecordsDropped.inc(records)
  const publisher = new BatchPublisher({
    js: store.js,
    logger,
    what: 'audit records',
    onDropped: onLost,
  })
  const audit = new Audit({ nodeId, publisher })
  undo.push(() => audit.flush())
  const mtu = await outsideMtu()
  const pool = new SlotPool({ calls, maps, plan, runDir, mtu, ahead, max: Math.min(max, capacity.instances), logger })
  const table = new PolicyTable(maps)
  const tellResolver = (id: string): void =>
    writeFileSync(join(socketDir(runDir, id), 'resolv.conf'), resolverFile(plan), { mode: 0o644 })
  const traces = new SocketTraces({ calls, nodeId, audit, onLost, logger })
  undo.push(() => traces.close())
  const network = new NodeNetwork({ maps, table, pool, plan, mtu, traces, tellResolver, logger })
  undo.push(startFlowAudit(maps, network, audit, onLost))
  undo.push(() => pool.close())
  const upstreams = resolvers?.map((text) => parseUpstream(text)) ?? hostUpstreams()
  const proxies = plan.proxies4.map((bytes) => formatAddress(bytes))
  const bound = new BoundFunctions(proxies)
  const resolver = await Resolver.listen({ nodeId, plan, network, table, audit, bound, upstreams, logger })
  undo.push(() => resolver.close())
  const sweeping = setInterval(() => network.sweep(), sweepMs)
  undo.push(() => clearInterval(sweeping))
  const reach = new Reach(() => host.guards)
  const functionCalls = createFunctionCaller({ gateways, token: config.callToken, ca: config.tls?.ca, logger })
  const proxy = { nodeId, addresses: proxies, network, bound, reach, calls: functionCalls, callers, audit, logger }
  undo.push(await startBindingProxy(proxy))
  const onChange = (key: string, policy: NetworkPolicy | undefined): void => {
    if (policy) host.forward()
    network.change(key, policy)
  }
  const policies = new EffectivePolicies(bound, onChange)
  const bucket = { ...bucketOf(store), logger }
  const records = openRecords(deps)
  undo.push(() => records.close())
  const following = [
    followRecords({
      ...bucket,
      filter: registryKey('*', '*'),
      read: (value, key) => records.policy(value, key),
      onChange: (key, policy) => policies.policy(key, policy),
    }),
    followRecords({
      ...bucket,
      filter: bindingsKey('*', '*'),
      read: (value, key) => records.bindings(value, key),
      onChange: (key, record) => policies.bindings(registryKey(...ownerOf(key)), record),
    }),
  ]
  for (const close of await Promise.all(following)) undo.push(close)
  return {
    networks: network,
    environment: ({ tenant, name }) => bound.environment(registryKey(tenant, name)),
    close: () => undoAll(undo),
  }
}

const bucketOf = ({ network, connection }: NetworkDeps['store']) => ({ kv: network, connection })

const openRecords = ({ config, sealer, verifier, logger }: NetworkDeps): SignedRecords =>
  new SignedRecords({ verifier, sealer, serials: new Serials(join(config.stateDir, 'network-serials.json'), logger) })

const resolverFile = ({ gateway4, gateway6 }: AddressPlan): string =>
  `nameserver ${formatAddress(gateway4)}\nnameserver ${formatAddress(gateway6)}\noptions edns0\n`
