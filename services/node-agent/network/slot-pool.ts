/**
 * Slots: namespace, veth pair, addresses and an open packet socket, made ahead and used again, so that a start finds one. The filter lets
 * nothing pass on a slot that is nobody's.
 */
import { closeSync } from 'node:fs'
import type { Logger } from '../../chassis/log.ts'
import { PlatformError } from '../../contracts/errors.ts'
import type { NetworkCalls } from '../sandbox/host-calls.ts'
import { slotAddresses, type AddressPlan, type SlotAddresses } from './addresses.ts'
import type { FilterMaps } from './filter-maps.ts'
import { innerName, makeSlotLink, netnsOf, removeSlotLink } from './host-network.ts'

export interface Slot {
  readonly number: number
  readonly addresses: SlotAddresses
  readonly ifindex: number
  /** The sandbox's end. */
  readonly socket: number
}

export interface SlotPoolDeps {
  readonly calls: NetworkCalls
  readonly maps: FilterMaps
  readonly plan: AddressPlan
  readonly runDir: string
  readonly mtu: number
  /** That wait for use. */
  readonly ahead: number
  /** In all. */
  readonly max: number
  readonly logger: Logger
}

export class SlotPool {
  readonly #deps: SlotPoolDeps
  /** The one that was used longest ago is first: late packets of its last user are over by then. */
  readonly #ready: Slot[] = []
  readonly #numbers = new Set<number>()
  #making: Promise<void> = Promise.resolve()
  #filling = false
  #closed = false

  constructor(deps: SlotPoolDeps) {
    this.#deps = deps
  }

  get ready(): number {
    return this.#ready.length
  }

  /** In use and ready. */
  get total(): number {
    return this.#numbers.size
  }

  /** @throws PlatformError NO_CAPACITY when all are in use. */
  async take(): Promise<Slot> {
    const slot = this.#ready.shift() ?? (await this.#inTurn(() => this.#oneMore()))
    this.fill()
    return slot
  }

  /** Its last user is gone. */
  async give(slot: Slot): Promise<void> {
    closeSync(slot.socket)
    if (this.#closed || this.#ready.length >= this.#deps.ahead) return this.#remove(slot)
    try {
      // Another socket: what the last one had received is not the next user's.
      this.#ready.push({ ...slot, socket: this.#open(slot.addresses) })
    } catch (err) {
      this.#deps.logger.warn({ err, slot: slot.addresses.name }, 'a network slot cannot be used again')
      await this.#remove(slot)
    }
  }

  /** Makes what is missing, in the background, one after the other. */
  fill(): void {
    if (this.#filling || this.#closed) return
    this.#filling = true
    void this.#inTurn(async () => {
      try {
        while (!this.#closed && this.#ready.length < this.#deps.ahead && this.#numbers.size < this.#deps.max)
          this.#ready.push(await this.#make())
      } catch (err) {
        this.#deps.logger.error({ err }, 'a network slot could not be made ahead')
      } finally {
        this.#filling = false
      }
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#making
    for (const slot of this.#ready.splice(0)) {
      closeSync(slot.socket)
      await this.#remove(slot)
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#making.then(work)
    this.#making = result.then(
      () => undefined,
      () => undefined,
    )
    return result
  }

  /** While the taker waited its turn, one may have come back. */
  async #oneMore(): Promise<Slot> {
    return this.#ready.shift() ?? this.#make()
  }

  async #make(): Promise<Slot> {
    const { calls, maps, plan, runDir, mtu, max } = this.#deps
    if (this.#numbers.size >= max)
      throw new PlatformError('NO_CAPACITY', `all ${max} network slots of the node are in use`)
    let number = 1
    while (this.#numbers.has(number)) number++
    this.#numbers.add(number)
    const addresses = slotAddresses(plan, number)
    try {
      const ifindex = await makeSlotLink(calls, addresses, runDir, mtu)
      maps.addSlot(ifindex)
      return { number, addresses, ifindex, socket: this.#open(addresses) }
    } catch (error) {
      await removeSlotLink(addresses, runDir)
      this.#numbers.delete(number)
      throw error
    }
  }

  #open({ name }: SlotAddresses): number {
    return this.#deps.calls.packetSocket(netnsOf(this.#deps.runDir, name), innerName)
  }

  async #remove({ number, addresses, ifindex }: Slot): Promise<void> {
    const { maps, runDir } = this.#deps
    maps.removeSlot(ifindex)
    await removeSlotLink(addresses, runDir)
    this.#numbers.delete(number)
  }
}
