/**
 * A body that streams on as it arrives and can be sent again from its start: when a node refuses the request before anything ran,
 * the same bytes go to another one. What was read is kept until `release`; its limit bounds the memory.
 */
import type { Readable } from 'node:stream'
import { PlatformError } from '../../contracts/errors.ts'

export interface BodyLimit {
  /** Key of the configuration, for the error. */
  readonly key: string
  readonly bytes: number
}

export class ReplayableBody {
  readonly #prefix: Buffer
  readonly #source: AsyncIterator<Buffer>
  readonly #limit: BodyLimit
  readonly #kept: Buffer[] = []
  #size = 0
  #ended = false
  #failed: { readonly error: unknown } | undefined
  #keeping = true
  #pulling: Promise<void> | undefined

  constructor(prefix: Buffer, source: Readable, limit: BodyLimit) {
    this.#prefix = prefix
    this.#source = (source as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
    this.#limit = limit
  }

  /** The newest reader counts; one that was given up may still wait for the chunk that this one gets too. @throws REQUEST_TOO_LARGE */
  async *read(): AsyncGenerator<Buffer> {
    if (this.#prefix.length > 0) yield this.#prefix
    for (let at = 0; ;) {
      const chunk = this.#kept[at]
      if (chunk) {
        if (this.#keeping) at++
        else this.#kept.splice(0, at + 1)
        if (!this.#keeping) at = 0
        yield chunk
      } else if (this.#failed) throw this.#failed.error
      else if (this.#ended) return
      else {
        this.#pulling ??= this.#pull().finally(() => (this.#pulling = undefined))
        await this.#pulling
      }
    }
  }

  /** The reply has begun: there is no other attempt. */
  release(): void {
    this.#keeping = false
  }

  /** A failure stays: an iterator that has thrown would look like a body that has ended. */
  async #pull(): Promise<void> {
    try {
      const { value, done } = await this.#source.next()
      if (done) {
        this.#ended = true
        return
      }
      this.#size += value.length
      if (this.#size > this.#limit.bytes) throw tooLarge(this.#limit)
      this.#kept.push(value)
    } catch (error) {
      this.#failed = { error }
    }
  }
}

export const tooLarge = ({ key, bytes }: BodyLimit): PlatformError =>
  new PlatformError('REQUEST_TOO_LARGE', `Request must be smaller than ${bytes} bytes`, { limit: key, bytes })
