/** The other nodes, as they say themselves over NATS, and which of them are asked for a code image. */
import { createHash } from 'node:crypto'
import { nodeHereEveryMs, type NodeHere } from '../../contracts/code-images.ts'

export interface Peer {
  readonly nodeId: string
  readonly url: string
}

interface Known extends Peer {
  readonly heardAt: number
  avoidedUntil: number
}

/** One that was not heard of for so long is gone. */
const forgottenMs = 6 * nodeHereEveryMs
/** Nodes that an image is kept at first, and asked of: however many nodes there are, each asks no more. */
export const homes = 3

/** Rendezvous hashing: every node has the same order for a digest, another one for each, and one node more or less moves no other. */
const rankOf = (digest: string, nodeId: string): string =>
  createHash('sha256').update(`${digest}/${nodeId}`).digest('hex')

export class Peers {
  readonly #own: string
  readonly #known = new Map<string, Known>()
  readonly #now: () => number

  /** @param now milliseconds of a clock that never goes back */
  constructor(own: string, now: () => number = () => performance.now()) {
    this.#own = own
    this.#now = now
  }

  heard({ nodeId, url, leaving }: NodeHere): void {
    if (nodeId === this.#own) return
    const known = this.#known.get(nodeId)
    if (leaving) return void this.#known.delete(nodeId)
    // Elsewhere it is another process: what the last one did says nothing.
    const avoidedUntil = known?.url === url ? known.avoidedUntil : -Infinity
    this.#known.set(nodeId, { nodeId, url, heardAt: this.#now(), avoidedUntil })
  }

  /** It did not give what it was asked for. */
  avoid({ nodeId }: Peer, forMs: number): void {
    const known = this.#known.get(nodeId)
    if (known) known.avoidedUntil = this.#now() + forMs
  }

  /** Whom to ask for the image, the first first. */
  nearest(digest: string): Peer[] {
    const now = this.#now()
    return this.#ranked(digest)
      .map(({ peer }) => peer)
      .filter(({ avoidedUntil }) => avoidedUntil <= now)
      .slice(0, homes)
  }

  /** How many others are asked before this node; below `homes` others ask this node. */
  ownRank(digest: string): number {
    const own = rankOf(digest, this.#own)
    return this.#ranked(digest).filter(({ rank }) => rank < own).length
  }

  get size(): number {
    return this.#known.size
  }

  #ranked(digest: string): { readonly peer: Known; readonly rank: string }[] {
    const now = this.#now()
    for (const { nodeId, heardAt } of this.#known.values()) if (now - heardAt > forgottenMs) this.#known.delete(nodeId)
    return [...this.#known.values()]
      .map((peer) => ({ peer, rank: rankOf(digest, peer.nodeId) }))
      .toSorted((a, b) => (a.rank < b.rank ? -1 : 1))
  }
}
