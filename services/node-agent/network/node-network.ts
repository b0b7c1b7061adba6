/**
 * The network of this node's sandboxes. A function has one when it has a policy: its sandboxes then get a slot's link, while they start or, when
 * the policy comes later, while they run. What passes on it the filter decides alone; here its maps are kept as the policies are.
 */
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { VersionConfig } from '../../contracts/function.ts'
import type { NetworkPolicy } from '../../contracts/network.ts'
import { registryKey } from '../../contracts/subjects.ts'
import type { InstanceEndpoint } from '../instance.ts'
import type { NetworkLink } from '../sandbox/control.ts'
import { formatAddress, type AddressPlan } from './addresses.ts'
import type { FilterMaps } from './filter-maps.ts'
import { innerName } from './host-network.ts'
import { slotKey, slotValue } from './map-encoding.ts'
import type { LoadedPolicy, PolicyTable } from './policy-table.ts'
import type { Slot, SlotPool } from './slot-pool.ts'
import type { SocketTraces } from './socket-traces.ts'

/** What of a sandbox the network needs. */
export interface Connectable {
  readonly id: string
  connect(link: NetworkLink): Promise<void>
  traceSockets(socket: number): Promise<void>
  readonly exited: Promise<unknown>
  readonly removed: Promise<void>
}

/** Who has, or had, a slot. */
export interface Tenancy {
  readonly instanceId: string
  readonly config: VersionConfig
  /** See `InstanceEndpoint`. */
  readonly invocationAt: (at: number) => string | undefined
}

/** A sandbox with the node gateway's end of it. */
export interface NetworkedInstance {
  readonly sandbox: Connectable
  readonly endpoint: Pick<InstanceEndpoint, 'invocationAt'>
}

interface Member extends Tenancy {
  readonly sandbox: Connectable
  /** Its calls on sockets are told once this resolves. */
  tracing?: Promise<void>
  slot?: { readonly slot: Slot; readonly lease: number }
  connecting?: Promise<void>
  ended: boolean
}

interface FunctionNetwork {
  policy: NetworkPolicy | undefined
  loaded: LoadedPolicy | undefined
  readonly members: Set<Member>
}

export interface NodeNetworkDeps {
  readonly maps: FilterMaps
  readonly table: PolicyTable
  readonly pool: SlotPool
  readonly plan: AddressPlan
  readonly mtu: number
  /** What the function does with sockets is told from before it has a link. */
  readonly traces: Pick<SocketTraces, 'begin'>
  /** Before the sandbox has its link: its resolver's address, where it looks for it. */
  readonly tellResolver: (instanceId: string) => void
  readonly logger: Logger
}

/** Events of a lease are read a little after it has ended. */
const rememberedLeases = 4096

export class NodeNetwork {
  readonly #deps: NodeNetworkDeps
  readonly #functions = new Map<string, FunctionNetwork>()
  readonly #leases = new Map<number, Tenancy>()
  readonly #endedLeases: number[] = []
  readonly #byAddress = new Map<string, Member>()
  /** Of sandboxes that are not connected yet. */
  readonly #expected = new WeakMap<Connectable, Member>()
  #lastLease = 0

  constructor(deps: NodeNetworkDeps) {
    this.#deps = deps
  }

  /** The sandbox will be connected, once something runs in it: what need not wait for that begins now, where the function has a policy. */
  expect(instance: NetworkedInstance, config: VersionConfig): void {
    if (!this.#functions.get(registryKey(config.tenant, config.name))?.policy) return
    const member = newMember(instance, config)
    member.tracing = this.#deps.traces.begin(instance.sandbox, member)
    // Whoever connects it is told.
    member.tracing.catch(() => undefined)
    this.#expected.set(instance.sandbox, member)
  }

  /**
   * From now on the sandbox has its function's network, whenever there is a policy. Resolves when it has what the policy of now says;
   * undefined: there is none. Rejects with PlatformError NO_CAPACITY when the node has no slot left, ControlError when gVisor refuses the link.
   */
  connect(instance: NetworkedInstance, config: VersionConfig): Promise<void> | undefined {
    const key = registryKey(config.tenant, config.name)
    const of = this.#of(key)
    const member = this.#expected.get(instance.sandbox) ?? newMember(instance, config)
    of.members.add(member)
    void instance.sandbox.exited.then(() => this.#end(key, of, member))
    return of.policy && this.#connect(of, member)
  }

  /** Applies to all sandboxes of the function, and to flows that live. Undefined: it has no network any more. */
  change(key: string, policy: NetworkPolicy | undefined): void {
    const of = this.#of(key)
    const before = of.loaded
    of.policy = policy
    of.loaded = undefined
    // Nobody waits for the slots yet; with the first policy on the node they are worth having.
    if (policy) this.#deps.pool.fill()
    this.#load(of, before)
    for (const member of of.members) {
      if (member.slot) this.#write(of, member, member.slot)
      else if (policy)
        this.#connect(of, member).catch((err: unknown) =>
          this.#deps.logger.error({ err, instanceId: member.instanceId }, 'a running sandbox did not get its network'),
        )
    }
    if (before) this.#deps.table.unload(before)
    if (!policy && of.members.size === 0) this.#functions.delete(key)
  }

  /** Whose flow it was. */
  tenancyOf(lease: number): Tenancy | undefined {
    return this.#leases.get(lease)
  }

  /** Who asks from this address, and what it may. The address is pinned to the slot, so it is proof. */
  askerAt(address: string): { readonly tenancy: Tenancy; readonly loaded: LoadedPolicy | undefined } | undefined {
    const member = this.#byAddress.get(address)
    if (!member) return undefined
    const { tenant, name } = member.config
    return { tenancy: member, loaded: this.#functions.get(registryKey(tenant, name))?.loaded }
  }

  /** Call it every second. */
  sweep(): void {
    for (const { loaded } of this.#functions.values()) if (loaded) this.#deps.table.sweep(loaded)
  }

  #of(key: string): FunctionNetwork {
    const known = this.#functions.get(key)
    if (known) return known
    const fresh = { policy: undefined, loaded: undefined, members: new Set<Member>() }
    this.#functions.set(key, fresh)
    return fresh
  }

  /** Once somebody is there to use it; it stays for the next one. What cannot be loaded opens nothing. */
  #load(of: FunctionNetwork, before?: LoadedPolicy): void {
    if (!of.policy || of.loaded || of.members.size === 0) return
    const { table, logger } = this.#deps
    const load = (policy: NetworkPolicy): void => {
      of.loaded = table.load(policy)
      if (before) table.inherit(of.loaded, before)
    }
    try {
      load(of.policy)
    } catch {
      this.#unloadUnused()
      try {
        load(of.policy)
      } catch (err) {
        logger.error({ err }, 'a network policy does not fit the filter: its function reaches nothing')
      }
    }
  }

  /** Makes room in the filter's maps. */
  #unloadUnused(): void {
    for (const of of this.#functions.values())
      if (of.loaded && of.members.size === 0) {
        this.#deps.table.unload(of.loaded)
        of.loaded = undefined
      }
  }

  #connect(of: FunctionNetwork, member: Member): Promise<void> {
    member.connecting ??= this.#connectNow(of, member)
    return member.connecting
  }

  async #connectNow(of: FunctionNetwork, member: Member): Promise<void> {
    const { pool, plan, mtu, tellResolver, traces } = this.#deps
    const slot = await pool.take()
    // From here on the slot goes back when the sandbox is gone, and not before.
    void member.sandbox.removed.then(() => this.#release(slot))
    if (member.ended) throw new PlatformError('NO_INSTANCE', 'the sandbox has ended')
    const lease = ++this.#lastLease
    member.slot = { slot, lease }
    this.#leases.set(lease, member)
    this.#load(of)
    this.#write(of, member, member.slot)
    tellResolver(member.instanceId)
    const { v4, v6, mac, hostMac } = slot.addresses
    for (const address of [v4, v6]) this.#byAddress.set(formatAddress(address), member)
    const link = {
      name: innerName,
      mtu,
      mac,
      gatewayMac: hostMac,
      addresses: [
        { address: formatAddress(v4), gateway: formatAddress(plan.gateway4), bytes: 4 },
        { address: formatAddress(v6), gateway: formatAddress(plan.gateway6), bytes: 16 },
      ],
      socket: slot.socket,
    }
    try {
      member.tracing ??= traces.begin(member.sandbox, member)
      await Promise.all([member.tracing, member.sandbox.connect(link)])
    } catch (error) {
      // What does what cannot be told reaches nothing, whatever its policy will be.
      this.#leave(member)
      throw error
    }
  }

  #write(of: FunctionNetwork, member: Member, { slot, lease }: { slot: Slot; lease: number }): void {
    if (member.ended) return
    const { v4, v6, mac } = slot.addresses
    const { bytesPerSecond, flowsPerSecond } = of.policy?.limits ?? {}
    const value = slotValue({ lease, policy: of.loaded?.number ?? 0, v4, v6, mac, bytesPerSecond, flowsPerSecond })
    this.#deps.maps.update('slots', { count: 1, keys: slotKey(slot.ifindex), values: value })
  }

  #end(key: string, of: FunctionNetwork, member: Member): void {
    member.ended = true
    of.members.delete(member)
    if (of.members.size === 0 && !of.policy) this.#functions.delete(key)
    this.#leave(member)
  }

  /** It has no slot any more; its last events are still to be read. */
  #leave(member: Member): void {
    if (!member.slot) return
    this.#close(member.slot.slot)
    this.#endedLeases.push(member.slot.lease)
    if (this.#endedLeases.length > rememberedLeases) this.#leases.delete(this.#endedLeases.shift() ?? 0)
    delete member.slot
  }

  /** Nothing passes any more. */
  #close({ ifindex, addresses }: Slot): void {
    this.#deps.maps.delete('slots', { count: 1, keys: slotKey(ifindex) })
    for (const address of [addresses.v4, addresses.v6]) this.#byAddress.delete(formatAddress(address))
  }

  async #release(slot: Slot): Promise<void> {
    this.#close(slot)
    await this.#deps.pool.give(slot).catch((err: unknown) => {
      this.#deps.logger.error({ err, slot: slot.addresses.name }, 'a network slot could not be given back')
    })
  }
}

const newMember = ({ sandbox, endpoint }: NetworkedInstance, config: VersionConfig): Member => {
  const invocationAt = (at: number) => endpoint.invocationAt(at)
  return { sandbox, instanceId: sandbox.id, config, invocationAt, ended: false }
}
