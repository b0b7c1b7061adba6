/**
 * One keep-alive connection to the node gateway, one request at a time. Thinner than `node:http`, whose client costs more than all
 * the rest of a warm invocation. A connection that failed stays failed; its owner opens another one.
 */
import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { ReplyReader, type ReplyHead } from './http-reply.ts'

export interface Reply extends ReplyHead {
  /** The whole body, or the body as it comes, as `accept` asked. */
  readonly body: Buffer | Readable
}

/** Decides at the head of a reply how its body is wanted. */
export type Accept = (head: ReplyHead) => 'whole' | 'stream'

interface Exchange {
  readonly accept: Accept
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
  head?: ReplyHead
  parts: Buffer[]
  stream?: Readable
}

const whole: Accept = () => 'whole'

export class Connection {
  readonly #socket: Socket
  #exchange: Exchange | undefined
  #failure: Error | undefined

  constructor(socketPath: string) {
    const reader = new ReplyReader({
      head: (head) => this.#onHead(head),
      data: (chunk) => this.#onData(chunk),
      end: () => this.#onEnd(),
    })
    this.#socket = connect({ path: socketPath })
    this.#socket.unref()
    this.#socket.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk)
      } catch (error) {
        this.#socket.destroy(error as Error)
      }
    })
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the node closed the connection')))
  }

  /** Nothing is under way and the next request may be sent. */
  get idle(): boolean {
    return !this.#exchange && !this.#failure
  }

  /** Rejects when the connection fails before the reply is here. `head` ends with an empty line. */
  request(head: string, body: string | Buffer = '', accept: Accept = whole): Promise<Reply> {
    const reply = this.expect(accept)
    if (typeof body === 'string') this.#socket.write(head + body)
    else {
      this.#socket.cork()
      this.#socket.write(head, 'latin1')
      this.#socket.write(body)
      this.#socket.uncork()
    }
    return reply
  }

  /** For a request that the caller writes to `socket` in pieces. */
  expect(accept: Accept = whole): Promise<Reply> {
    if (this.#failure) return Promise.reject(this.#failure)
    if (this.#exchange) return Promise.reject(new Error('the connection is busy'))
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    this.#exchange = { accept, resolve, reject, parts: [] }
    return promise
  }

  get socket(): Socket {
    return this.#socket
  }

  /** Whether it keeps the process alive; at first it does not. */
  setRef(keep: boolean): void {
    if (keep) this.#socket.ref()
    else this.#socket.unref()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #onHead(head: ReplyHead): void {
    const exchange = this.#exchange
    if (!exchange) throw new Error('a reply that nobody asked for')
    exchange.head = head
    if (exchange.accept(head) === 'whole') return
    // A body that its reader gives up ends the connection: what is left of it cannot be skipped.
    exchange.stream = new Readable({
      read: () => void this.#socket.resume(),
      destroy: (error, done) => {
        if (this.#exchange === exchange) this.#socket.destroy()
        done(error)
      },
    })
    exchange.resolve({ ...head, body: exchange.stream })
  }

  #onData(chunk: Buffer): void {
    const { stream, parts } = this.#exchange as Exchange
    if (!stream) parts.push(chunk)
    else if (!stream.push(chunk)) this.#socket.pause()
  }

  #onEnd(): void {
    const { stream, parts, head, resolve } = this.#exchange as Exchange
    this.#exchange = undefined
    if (stream) {
      stream.push(null)
      // Nobody has to read a body: the next reply must come in all the same.
      this.#socket.resume()
    } else resolve({ ...(head as ReplyHead), body: parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts) })
  }

  #fail(error: Error): void {
    this.#failure ??= error
    const exchange = this.#exchange
    this.#exchange = undefined
    exchange?.stream?.destroy(error)
    exchange?.reject(error)
  }
}
