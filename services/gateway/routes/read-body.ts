/** A request's body in memory: bounded for the request by its own limit, for the gateway by a budget, in time by a stall limit. */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { PlatformError } from '../../contracts/errors.ts'
import { tooLarge, type BodyLimit } from '../invoke/replayable-body.ts'

/** Bytes of bodies that may be held at the same time. */
export class BodyBudget {
  readonly #bytes: number
  #held = 0

  constructor(bytes: number) {
    this.#bytes = bytes
  }

  get held(): number {
    return this.#held
  }

  /** @returns gives the bytes back; only the first call counts. @throws PlatformError TOO_MANY_REQUESTS */
  take(bytes: number): () => void {
    // One body alone always fits, however small the budget.
    if (this.#held > 0 && this.#held + bytes > this.#bytes)
      throw new PlatformError('TOO_MANY_REQUESTS', `Request bodies in memory would exceed ${this.#bytes} bytes`, {
        limit: 'limits.bufferedBytes',
        bytes: this.#bytes,
      })
    this.#held += bytes
    let given = false
    return () => {
      if (!given) this.#held -= bytes
      given = true
    }
  }
}

/** What the head says of the body's length; `limit` when it says nothing, as in chunked transfer. @throws REQUEST_TOO_LARGE */
export const declaredBytes = (request: IncomingMessage, limit: BodyLimit): number => {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
  if (encoding !== undefined) return limit.bytes
  const bytes = Number(length ?? 0)
  if (bytes > limit.bytes) throw tooLarge(limit)
  return bytes
}

/**
 * After INVALID_REQUEST nothing more is read: the connection has to be closed with the answer.
 * @throws PlatformError REQUEST_TOO_LARGE naming the limit; INVALID_REQUEST when the body breaks off or stalls.
 */
export const readBody = (request: IncomingMessage, limit: BodyLimit, stalledMs: number): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    let size = 0
    const settle = (error?: PlatformError): void => {
      clearTimeout(timer)
      request.off('data', take).off('end', ended).off('close', gone).off('error', gone)
      if (!error) return resolve(parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts))
      // What is too much is read and dropped: a client that is still sending would see a reset instead of the answer.
      if (error.code === 'REQUEST_TOO_LARGE') request.resume()
      else request.pause()
      reject(error)
    }
    const take = (part: Buffer): void => {
      timer.refresh()
      size += part.length
      if (size > limit.bytes) settle(tooLarge(limit))
      else parts.push(part)
    }
    const ended = (): void => settle()
    const gone = (): void => settle(new PlatformError('INVALID_REQUEST', 'the body ended early'))
    const stalled = (): void =>
      settle(new PlatformError('INVALID_REQUEST', `no byte of the body came for ${stalledMs} ms`))
    const timer = setTimeout(stalled, stalledMs)
    request.on('data', take).once('end', ended).once('close', gone).once('error', gone)
  })

const sliceBytes = 1024 * 1024

/** SHA-256 in slices: other requests have their turn in between. */
export const sha256 = async (bytes: Uint8Array, encoding: 'hex' | 'base64'): Promise<string> => {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += sliceBytes) {
    if (at > 0) await nextTurn()
    hash.update(bytes.subarray(at, at + sliceBytes))
  }
  return hash.digest(encoding)
}
