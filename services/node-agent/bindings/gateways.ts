/** Where the gateways are that take calls of functions, as they say themselves over NATS. */
import type { NatsConnection } from '@nats-io/transport-node'
import { Compile } from 'typebox/compile'
import { subscribeLastingly } from '../../chassis/lasting-subscription.ts'
import { GatewayHere, gatewayHereEveryMs } from '../../contracts/calls.ts'
import { subjects } from '../../contracts/subjects.ts'

/** One that was not heard of for so long is asked last: silence may be NATS's own. */
const silentMs = 5 * gatewayHereEveryMs
/** One that did not answer is asked last for so long. */
const avoidedMs = 2_000
/** One that is gone for good is forgotten after so long, if there are others. */
const forgottenMs = 10 * 60_000

interface Known {
  heardAt: number
  failedAt: number
}

const schema = Compile(GatewayHere)

export class Gateways {
  readonly #known = new Map<string, Known>()
  readonly #now: () => number
  #turn = 0

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  heard({ url, leaving }: GatewayHere): void {
    if (leaving) return void this.#known.delete(url)
    this.#known.set(url, { failedAt: this.#known.get(url)?.failedAt ?? -Infinity, heardAt: this.#now() })
  }

  get urls(): string[] {
    return [...this.#known.keys()]
  }

  /** It could not be reached. */
  failed(url: string): void {
    const known = this.#known.get(url)
    if (known) known.failedAt = this.#now()
  }

  /** Best first; those that are as good take turns. */
  inOrder(): string[] {
    const now = this.#now()
    for (const [url, { heardAt }] of this.#known)
      if (now - heardAt > forgottenMs && this.#known.size > 1) this.#known.delete(url)
    const all = [...this.#known]
    const turn = all.length === 0 ? 0 : this.#turn++ % all.length
    const worse = ({ heardAt, failedAt }: Known): number =>
      Number(now - heardAt > silentMs) + Number(now - failedAt < avoidedMs)
    return [...all.slice(turn), ...all.slice(0, turn)]
      .toSorted(([, a], [, b]) => worse(a) - worse(b))
      .map(([url]) => url)
  }
}

/** @returns ends it */
export const followGateways = (
  connection: Pick<NatsConnection, 'subscribe' | 'isClosed'>,
  gateways: Gateways,
): (() => void) => subscribeLastingly(connection, subjects.gatewayHere, (message) => hear(gateways, message.string()))

const hear = (gateways: Gateways, text: string): void => {
  try {
    const here: unknown = JSON.parse(text)
    if (schema.Check(here)) gateways.heard(here)
  } catch {
    // No JSON: of nobody that is known here.
  }
}
