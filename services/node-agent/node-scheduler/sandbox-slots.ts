/**
 * Slots: places for sandboxes, each with the node gateway's socket in it, made when nothing else is to be done. They cost neither CPU
 * nor memory to speak of, so every mode of the cache has them. A start takes one and gives it to its sandbox for life.
 */
import { randomBytes } from 'node:crypto'
import type { Logger } from '../../chassis/log.ts'
import type { InstanceEndpoint, NodeGateway } from '../instance.ts'
import { makePlace, removePlace, socketDir, type PlaceHost, type SandboxPlace } from '../sandbox/place.ts'

export interface Slot {
  readonly place: SandboxPlace
  readonly endpoint: InstanceEndpoint
}

export interface SlotDeps {
  readonly host: PlaceHost
  readonly gateway: Pick<NodeGateway, 'openEndpoint'>
  /** Ids of what is somebody's: a slot's is told before anything of it exists, until nothing of it is left. */
  readonly live: Set<string>
  readonly logger: Logger
}

/** Of the order of the starts that arrive before there is time to make more. */
export const slotsAhead = 8

export class SandboxSlots {
  readonly #deps: SlotDeps
  readonly #free: Slot[] = []
  #filling: Promise<void> | undefined
  #closed = false

  constructor(deps: SlotDeps) {
    this.#deps = deps
  }

  /** Ids of those that wait. */
  get ids(): string[] {
    return this.#free.map(({ place }) => place.id)
  }

  /** One that waits, else one made now. @throws when the host refuses; nothing is left then. */
  async take(): Promise<Slot> {
    return this.#free.shift() ?? this.#make()
  }

  /** Makes what is missing. A failure is told; the next call tries again, and so does each start. */
  fill(): void {
    this.#filling ??= this.#fill()
      .catch((err: unknown) => this.#deps.logger.error({ err }, 'a slot could not be made ahead'))
      .finally(() => (this.#filling = undefined))
  }

  /** Removes it with whatever runs in it. */
  async drop({ place, endpoint }: Slot): Promise<void> {
    await endpoint.close({ reason: 'killed', detail: 'the sandbox could not be created' })
    await this.#remove(place)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#filling
    await Promise.all(this.#free.splice(0).map((slot) => this.drop(slot)))
  }

  async #fill(): Promise<void> {
    while (!this.#closed && this.#free.length < slotsAhead) this.#free.push(await this.#make())
  }

  async #make(): Promise<Slot> {
    const { host, gateway, live } = this.#deps
    const id = randomBytes(8).toString('hex')
    live.add(id)
    const place = makePlace(host, id)
    try {
      return { place, endpoint: await gateway.openEndpoint(id, `${socketDir(host.runDir, id)}/api.sock`) }
    } catch (error) {
      await this.#remove(place)
      throw error
    }
  }

  /** What cannot be removed is left to the reconciler, to which it is nobody's now. */
  async #remove(place: SandboxPlace): Promise<void> {
    const { host, live, logger } = this.#deps
    await removePlace(host, place).catch((err: unknown) => logger.warn({ err }, 'a place could not be removed'))
    live.delete(place.id)
  }
}
