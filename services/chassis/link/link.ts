/**
 * One connection between two services, for many small messages: JSON arrays, all that are ready in one turn of the event loop in one frame
 * and one write. A frame is its length (4 bytes, big-endian) and a JSON array of messages; an empty one is a sign of life.
 */
import type { Duplex } from 'node:stream'

export type Message = readonly unknown[]

export interface LinkHandlers {
  readonly onMessage: (message: Message) => void
  /** Once. Nothing is sent or received after it. */
  readonly onClose: (error: Error | undefined) => void
}

export interface LinkLimits {
  /** A longer frame closes the link. */
  readonly frameBytes: number
  /** A peer that sends nothing for so long is gone. It sends a sign of life three times in that time. */
  readonly silenceMs: number
}

export const defaultLimits: LinkLimits = { frameBytes: 4 * 1024 * 1024, silenceMs: 3_000 }

const headerBytes = 4
/** A frame is closed when it has so many; the rest of the turn goes into the next. */
const messagesPerFrame = 512
/** With so much unsent nothing more is read: who does not take answers gets no more work done. */
const unsentBytes = 1024 * 1024

export class Link {
  readonly #socket: Duplex
  readonly #handlers: LinkHandlers
  readonly #limits: LinkLimits
  readonly #alive: NodeJS.Timeout
  #queue: Message[] = []
  #flushing = false
  #rest: Buffer = Buffer.alloc(0)
  #sentAt = performance.now()
  #heardAt = performance.now()
  #beatAt = performance.now()
  #error: Error | undefined
  #closed = false
  #ending = false

  /** @param head what was read from the socket beyond the handshake */
  constructor(socket: Duplex, handlers: LinkHandlers, head: Buffer = Buffer.alloc(0), limits = defaultLimits) {
    this.#socket = socket
    this.#handlers = handlers
    this.#limits = limits
    this.#alive = setInterval(() => this.#beat(), limits.silenceMs / 3).unref()
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('drain', () => socket.resume())
    socket.on('end', () => socket.end())
    socket.on('error', (error) => (this.#error ??= error))
    socket.on('close', () => this.#close())
    if (head.length > 0) this.#read(head)
  }

  get closed(): boolean {
    return this.#closed || this.#ending
  }

  /**
   * Goes with everything else of this turn. Dropped once the link is closed: `onClose` tells.
   *
   * @param hurry false: goes with whatever is sent next, in order, at the latest with the next sign of life. A write of its own costs more than
   *   the message
   */
  send(message: Message, hurry = true): void {
    if (this.closed) return
    this.#queue.push(message)
    if (this.#flushing || !hurry) return
    this.#flushing = true
    setImmediate(() => this.#flush())
  }

  /** Sends what is queued, then closes. */
  end(): void {
    if (this.closed) return
    this.#flush()
    this.#ending = true
    this.#socket.end()
  }

  destroy(error?: Error): void {
    this.#error ??= error
    this.#socket.destroy()
    this.#close()
  }

  #flush(): void {
    this.#flushing = false
    if (this.closed) return
    const messages = this.#queue
    this.#queue = []
    for (let from = 0; from < messages.length; from += messagesPerFrame)
      this.#write(messages.slice(from, from + messagesPerFrame))
    if (this.#socket.writableLength > unsentBytes) this.#socket.pause()
  }

  #write(messages: readonly Message[]): void {
    const text = JSON.stringify(messages)
    const length = Buffer.byteLength(text)
    const frame = Buffer.allocUnsafe(headerBytes + length)
    frame.writeUInt32BE(length)
    frame.write(text, headerBytes)
    this.#sentAt = performance.now()
    this.#socket.write(frame)
  }

  #read(bytes: Buffer): void {
    this.#heardAt = performance.now()
    let rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes
    while (rest.length >= headerBytes) {
      const length = rest.readUInt32BE()
      if (length > this.#limits.frameBytes) return this.destroy(new Error(`a frame of ${length} bytes`))
      if (rest.length < headerBytes + length) break
      const messages = parse(rest.toString('utf8', headerBytes, headerBytes + length))
      if (!messages) return this.destroy(new Error('a frame that is no array of messages'))
      rest = rest.subarray(headerBytes + length)
      for (const message of messages) {
        if (this.closed) return
        this.#handlers.onMessage(message)
      }
    }
    this.#rest = rest
  }

  #beat(): void {
    const now = performance.now()
    // This process stood still: whoever was silent meanwhile may have spoken.
    if (now - this.#beatAt > this.#limits.silenceMs) this.#heardAt = now
    this.#beatAt = now
    if (now - this.#heardAt > this.#limits.silenceMs) return this.destroy(new Error('the peer is silent'))
    if (this.#queue.length > 0) this.#flush()
    else if (!this.closed && now - this.#sentAt > this.#limits.silenceMs / 4) this.#write([])
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue = []
    clearInterval(this.#alive)
    this.#handlers.onClose(this.#error)
  }
}

const parse = (text: string): Message[] | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every(Array.isArray) ? (value as Message[]) : undefined
  } catch {
    return undefined
  }
}
