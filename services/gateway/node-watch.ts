/**
 * Which nodes this gateway reaches. A node that stands still, or that is cut off, breaks no connection: without a sign of life its requests
 * would wait for their deadlines. So there is a link to every node that was sent something.
 */
import type { TrustOf } from '../chassis/joined-nodes.ts'
import { LinkClient, LinkRefused } from '../chassis/link/client.ts'
import { PlatformError } from '../contracts/errors.ts'
import { livenessLink } from '../contracts/links.ts'

/** Nothing of the request has reached the node, or not enough of it to be started: it may be sent elsewhere. */
export class NodeUnreachable extends Error {}

/** The node gave no sign of life for a few seconds. */
export class NodeLost extends Error {}

export interface NodeWatchOptions {
  readonly trustOf: TrustOf
  /** Once for each loss. What was sent to the node is not answered any more. */
  readonly onLost: (nodeUrl: string, error: NodeLost) => void
  /** It has not been there for long, and nobody asked for it: it may be gone for good. */
  readonly onForgotten: (nodeUrl: string) => void
  /** For tests. */
  readonly times?: Partial<typeof times>
}

export type Reach =
  /** Gives signs of life. */
  | 'watched'
  /** An agent of the version before, which has no such link. */
  | 'unwatched'

const times = {
  /** A node is lost when it is silent for so long, */
  silenceMs: 3_000,
  /** and then opens no new link within this time. */
  connectMs: 3_000,
  /** Without a link no request waits longer than that for one. */
  patienceMs: 1_000,
  /** An agent that has no such link may be replaced by one that does. */
  askAgainMs: 30_000,
  /** Nobody asks for a node that is gone for so long. */
  forgetMs: 600_000,
}

interface Watched {
  readonly link: LinkClient
  /** `performance.now()`. */
  usedAt: number
  attempt: Promise<Reach> | undefined
  /** Until this `performance.now()`. */
  unwatchedUntil: number
  /** Its link broke and was not opened again: nobody waits for that. */
  doubtful: boolean
}

export class NodeWatch {
  readonly #options: NodeWatchOptions
  readonly #times: typeof times
  readonly #nodes = new Map<string, Watched>()
  #closed = false

  constructor(options: NodeWatchOptions) {
    this.#options = options
    this.#times = { ...times, ...options.times }
  }

  /** At once where the link is there. @throws NodeUnreachable */
  reach(nodeUrl: string): Reach | Promise<Reach> {
    const node = this.#nodes.get(nodeUrl) ?? this.#add(nodeUrl)
    node.usedAt = performance.now()
    if (node.link.isOpen) return 'watched'
    if (node.usedAt < node.unwatchedUntil) return 'unwatched'
    const attempt = this.#open(nodeUrl, node)
    return node.doubtful ? refuse(nodeUrl, attempt) : patiently(nodeUrl, attempt, this.#times.patienceMs)
  }

  close(): void {
    this.#closed = true
    for (const { link } of this.#nodes.values()) link.close()
  }

  #add(nodeUrl: string): Watched {
    // Here, because it is with other nodes that those would pile up which are gone.
    this.#forgetGone()
    const { connectMs, silenceMs } = this.#times
    const trust = () => this.#options.trustOf(nodeUrl)
    const common = { url: nodeUrl, trust, path: livenessLink, service: 'node-agent', connectMs, silenceMs } as const
    const onClose = (error: Error | undefined): void => void this.#broke(nodeUrl, node, error)
    const link = new LinkClient({ ...common, onClose })
    const node: Watched = { link, usedAt: 0, attempt: undefined, unwatchedUntil: 0, doubtful: false }
    this.#nodes.set(nodeUrl, node)
    return node
  }

  #forgetGone(): void {
    const since = performance.now() - this.#times.forgetMs
    for (const [nodeUrl, { link, attempt, usedAt }] of this.#nodes) {
      if (link.isOpen || attempt || usedAt > since) continue
      this.#nodes.delete(nodeUrl)
      this.#options.onForgotten(nodeUrl)
    }
  }

  /** One attempt at a time. */
  #open(nodeUrl: string, node: Watched): Promise<Reach> {
    node.attempt ??= this.#connect(nodeUrl, node).finally(() => (node.attempt = undefined))
    return node.attempt
  }

  async #connect(nodeUrl: string, node: Watched): Promise<Reach> {
    try {
      await node.link.open()
      node.doubtful = false
      return 'watched'
    } catch (cause) {
      // It answers. What speaks against its links speaks against requests, or not.
      if (!(cause instanceof LinkRefused || cause instanceof PlatformError)) throw unreachable(nodeUrl, cause)
      node.unwatchedUntil = performance.now() + this.#times.askAgainMs
      return 'unwatched'
    }
  }

  /** An agent that ends says so, and answers what it has first; its other connections tell. Anything else may be a loss. */
  async #broke(nodeUrl: string, node: Watched, error: Error | undefined): Promise<void> {
    if (this.#closed) return
    node.doubtful = error !== undefined
    try {
      await this.#open(nodeUrl, node)
    } catch (cause) {
      if (error === undefined || this.#closed) return
      this.#options.onLost(nodeUrl, new NodeLost(`the node at ${nodeUrl} gives no sign of life`, { cause }))
    }
  }
}

const unreachable = (nodeUrl: string, cause?: unknown): NodeUnreachable =>
  new NodeUnreachable(`the node at ${nodeUrl} cannot be reached`, { cause })

/** The attempt goes on for those who come later. */
const refuse = (nodeUrl: string, attempt: Promise<Reach>): never => {
  attempt.catch(() => undefined)
  throw unreachable(nodeUrl)
}

const patiently = async (nodeUrl: string, attempt: Promise<Reach>, patienceMs: number): Promise<Reach> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(unreachable(nodeUrl)), patienceMs)
  })
  try {
    return await Promise.race([attempt, late])
  } finally {
    clearTimeout(timer)
  }
}
