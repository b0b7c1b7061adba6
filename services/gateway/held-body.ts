/**
 * A body whose last bytes stay here until the node asks for them, which it does when an instance is there to take the request. What the node
 * never asked for was never started, whatever became of it: nobody hands over half a request. It may be sent elsewhere then.
 */
export class HeldBody {
  readonly #asked = Promise.withResolvers<void>()
  #isAsked = false

  constructor() {
    this.#asked.promise.catch(() => undefined)
  }

  /** The request may have been started. */
  get asked(): boolean {
    return this.#isAsked
  }

  ask(): void {
    this.#isAsked = true
    this.#asked.resolve()
  }

  /** Whoever still waits in `read` is let go, with an error. No effect after `ask`. */
  drop(): void {
    this.#asked.reject(new Error('the node did not ask for the rest of the body'))
  }

  /** All of a buffer but its last byte goes at once; of a stream, its first chunk without its last byte. */
  async *read(body: Buffer | AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let held = true
    for await (const chunk of Buffer.isBuffer(body) ? [body] : body) {
      if (!held) {
        yield chunk
        continue
      }
      yield chunk.subarray(0, -1)
      await this.#asked.promise
      held = false
      yield chunk.subarray(-1)
    }
  }
}

/** One byte must go ahead, or the request would not. Streams begin with a prelude. */
export const canBeHeld = (body: Buffer | AsyncIterable<Buffer>): boolean => !Buffer.isBuffer(body) || body.length > 1
