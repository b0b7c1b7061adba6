/**
 * Copies of code images from other nodes. Whatever a node sends, the image's digest decides; whatever goes wrong, the store has the image too, so
 * nothing here takes long.
 */
import type { Readable } from 'node:stream'
import { Agent, type Dispatcher } from 'undici'
import { clientTls } from '../../chassis/internal-tls.ts'
import type { Logger } from '../../chassis/log.ts'
import { codeImagePath } from '../../contracts/code-images.ts'
import { PlatformError } from '../../contracts/errors.ts'
import { protocolHeaders } from '../../contracts/protocol.ts'
import type { Peer, Peers } from './peers.ts'

/** All nodes that are asked for one image, together: what is not here by then comes from the store. */
const withinMs = 5_000
const connectMs = 300
/** Until an answer begins, and between two parts of it. */
const silenceMs = 1_000
/** One that gave no answer, or half of one, is not asked for so long. */
const avoidedMs = 10_000
/** One that gave something else than was asked for. */
const distrustedMs = 10 * 60_000
/** No image is larger: the gateway takes no code of which one would become so. */
const maxImageBytes = 1024 ** 3

/** Why a node's copy was of no use. */
export type PeerFailure = 'silent' | 'broken' | 'wrong'

/** What came is not what was asked for. */
export class WrongBytes extends Error {}

export interface PeerCopiesDeps {
  readonly peers: Peers
  readonly token: string
  /** See `clientTls`. */
  readonly ca: string | undefined
  readonly logger: Logger
  readonly onFailure: (failure: PeerFailure) => void
}

export class PeerCopies {
  readonly #deps: PeerCopiesDeps
  readonly #agent: Agent

  constructor(deps: PeerCopiesDeps) {
    this.#deps = deps
    const timeouts = { headersTimeout: silenceMs, bodyTimeout: silenceMs }
    this.#agent = new Agent({ connections: 4, ...timeouts, ...clientTls(deps.ca, 'node-agent', connectMs) })
  }

  /**
   * Asks the nodes that are nearest to the image, one after the other.
   *
   * @param take reads all of it, and checks it: throws WrongBytes, or a PlatformError of this node's own, which is thrown on
   * @returns false: none of them has it. The store is next.
   */
  async copy(digest: string, take: (body: Readable) => Promise<void>): Promise<boolean> {
    const { peers, logger, onFailure } = this.#deps
    const signal = AbortSignal.timeout(withinMs)
    for (const peer of peers.nearest(digest)) {
      if (signal.aborted) return false
      try {
        const body = await this.#ask(peer, digest, signal)
        if (!body) continue
        await take(body)
        return true
      } catch (error) {
        if (error instanceof PlatformError) throw error
        const failure = failureOf(error)
        onFailure(failure)
        peers.avoid(peer, failure === 'wrong' ? distrustedMs : avoidedMs)
        logger.warn({ err: error, nodeId: peer.nodeId, digest, failure }, 'a node did not give a code image')
      }
    }
    return false
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }

  /** @returns nothing where the node does not have it, or has no hand free */
  async #ask({ url }: Peer, digest: string, signal: AbortSignal): Promise<Readable | undefined> {
    // What is not TLS asks for no certificate, and would be told the token.
    if (this.#deps.ca !== undefined && new URL(url).protocol !== 'https:') throw new Error(`${url} is not TLS`)
    const headers = { ...protocolHeaders, authorization: `Bearer ${this.#deps.token}` }
    const request: Dispatcher.RequestOptions = { method: 'GET', path: codeImagePath(digest), headers, signal }
    const { statusCode, headers: said, body } = await this.#agent.request({ ...request, origin: url })
    if (statusCode === 200 && Number(said['content-length']) <= maxImageBytes) return body
    await body.dump()
    if (statusCode === 404 || statusCode === 429) return undefined
    throw new Error(`it answered ${statusCode}, ${String(said['content-length'] ?? 'an unknown number of')} bytes`)
  }
}

const failureOf = (error: unknown): PeerFailure => {
  if (error instanceof WrongBytes) return 'wrong'
  const { name = '', code = '' } = error as { name?: string; code?: string }
  return name === 'TimeoutError' || code.endsWith('_TIMEOUT') ? 'silent' : 'broken'
}
