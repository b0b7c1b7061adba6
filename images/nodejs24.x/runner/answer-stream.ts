/**
 * An answer that is streamed: the request to the node begins with the first bytes that are written, an error that comes later is
 * told in the trailers. A chunk counts as written once the kernel has it, and that waits for the node: the back-pressure.
 */
import { Writable } from 'node:stream'
import type { Connection } from './connection.ts'
import { errorBody, type ErrorBody } from './error-body.ts'

const maxErrorBytes = 16 * 1024

/** A free connection, and the head of the request up to and without its content type. */
export type OpenAnswer = () => { readonly connection: Connection; readonly head: string }

export class AnswerStream extends Writable {
  readonly #open: OpenAnswer
  #contentType = 'application/octet-stream'
  #prelude: Buffer = Buffer.alloc(0)
  #connection: Connection | undefined
  #reply: Promise<unknown> = Promise.resolve()
  #failure: ErrorBody | undefined
  #complete = false

  constructor(open: OpenAnswer) {
    super({ highWaterMark: 64 * 1024, decodeStrings: true })
    this.#open = open
  }

  /** Something of the answer is on its way: its type is settled, and an error can only be told in the trailers. */
  get begun(): boolean {
    return this.#connection !== undefined
  }

  setContentType(contentType: string): void {
    this.#contentType = contentType
  }

  /** Goes out before the first byte of the body. */
  setPrelude(prelude: Buffer): void {
    this.#prelude = prelude
  }

  /** Ends the answer as failed. What was written before stays written. */
  endWithError(error: ErrorBody): void {
    this.#failure = error
    this.end()
  }

  /** After the end: resolves when the node has taken all of it. */
  async taken(): Promise<void> {
    this.#connection?.setRef(true)
    await this.#reply
    this.#connection?.setRef(false)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#writeChunk(this.#connection ?? this.#begin(), [chunk], done)
  }

  // oxlint-disable-next-line no-underscore-dangle -- Node.js' name
  override _writev(chunks: readonly { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const connection = this.#connection ?? this.#begin()
    this.#writeChunk(
      connection,
      chunks.map(({ chunk }) => chunk),
      done,
    )
  }

  override _final(done: (error?: Error | null) => void): void {
    const connection = this.#connection ?? this.#begin()
    this.#complete = true
    connection.socket.write(lastChunk(this.#failure), 'latin1', done)
  }

  /** A source that breaks destroys this stream, as `pipeline` does: the caller is told why. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#complete && this.#connection) {
      this.#complete = true
      const reason = error ?? new Error('the response stream was destroyed before its end')
      this.#connection.socket.write(lastChunk(errorBody(reason)), 'latin1')
    }
    done(error)
  }

  #begin(): Connection {
    const { connection, head } = this.#open()
    this.#connection = connection
    this.#reply = connection.expect()
    this.#reply.then(
      () => this.#replied(connection),
      (error: unknown) => this.destroy(error as Error),
    )
    connection.socket.cork()
    connection.socket.write(`${head}Content-Type: ${this.#contentType}\r\n\r\n`, 'latin1')
    this.#writeChunk(connection, [this.#prelude])
    process.nextTick(() => connection.socket.uncork())
    return connection
  }

  /** Before the end, the node has heard enough (too long, or the caller is gone); half a request makes the connection useless. */
  #replied(connection: Connection): void {
    if (this.#complete) return
    this.#complete = true
    connection.destroy()
    this.destroy(new Error('the node takes no more of this answer'))
  }

  #writeChunk(connection: Connection, parts: readonly Buffer[], done?: (error?: Error | null) => void): void {
    const { socket } = connection
    const size = parts.reduce((sum, part) => sum + part.length, 0)
    // A chunk of no bytes would end the body.
    if (size === 0) return done?.()
    socket.cork()
    socket.write(`${size.toString(16)}\r\n`, 'latin1')
    for (const part of parts) socket.write(part)
    socket.write('\r\n', 'latin1', done)
    socket.uncork()
  }
}

const lastChunk = (error: ErrorBody | undefined): string => `0\r\n${error ? errorTrailers(error) : ''}\r\n`

const errorTrailers = (error: ErrorBody): string => {
  const json = JSON.stringify(error)
  const body = json.length <= maxErrorBytes ? json : JSON.stringify({ ...error, trace: [] }).slice(0, maxErrorBytes)
  const type = error.errorType.replaceAll(/[^\x20-\x7e]/g, '?')
  return (
    `Lambda-Runtime-Function-Error-Type: ${type}\r\n` +
    `Lambda-Runtime-Function-Error-Body: ${Buffer.from(body).toString('base64')}\r\n`
  )
}
