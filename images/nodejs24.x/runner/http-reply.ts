/** Incremental reader of HTTP/1.1 replies on one connection: one reply after the other, bodies by length or in chunks. */

export interface ReplyHead {
  readonly status: number
  /** Names lower-case, values as latin1, the last of several wins. */
  readonly headers: ReadonlyMap<string, string>
}

export interface ReplySink {
  head(head: ReplyHead): void
  /** Bytes of the body; the chunk is only valid until the next read, so it is copied if kept. */
  data(chunk: Buffer): void
  end(): void
}

const maxHeadBytes = 64 * 1024

const parseHead = (text: string): ReplyHead => {
  const lines = text.split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(lines[0] ?? '')?.[1])
  if (!status) throw new Error(`not an HTTP reply: ${lines[0]?.slice(0, 80)}`)
  const headers = new Map<string, string>()
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index] as string
    const colon = line.indexOf(':')
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
  }
  return { status, headers }
}

type State = 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailers'

export class ReplyReader {
  readonly #sink: ReplySink
  #state: State = 'head'
  #left = 0
  /** An incomplete head or line. */
  #rest: Buffer = Buffer.alloc(0)

  constructor(sink: ReplySink) {
    this.#sink = sink
  }

  /** @throws Error when the bytes are no HTTP reply; the connection is of no more use then. */
  push(bytes: Buffer): void {
    let chunk = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes
    this.#rest = Buffer.alloc(0)
    while (chunk.length > 0) {
      const next = this.#step(chunk)
      if (next === undefined) {
        if (chunk.length > maxHeadBytes) throw new Error('the head of the reply is too long')
        this.#rest = Buffer.from(chunk)
        return
      }
      chunk = next
    }
  }

  /** @returns what is left of the chunk; undefined when more is needed. */
  #step(chunk: Buffer): Buffer | undefined {
    switch (this.#state) {
      case 'head':
        return this.#readHead(chunk)
      case 'length':
      case 'chunk':
        return this.#readBody(chunk)
      default:
        return this.#readLine(chunk)
    }
  }

  #readHead(chunk: Buffer): Buffer | undefined {
    const end = chunk.indexOf('\r\n\r\n')
    if (end < 0) return undefined
    const head = parseHead(chunk.toString('latin1', 0, end))
    this.#sink.head(head)
    const length = Number(head.headers.get('content-length') ?? 0)
    if (head.headers.get('transfer-encoding') === 'chunked') this.#state = 'chunk-size'
    else if (length > 0) {
      this.#state = 'length'
      this.#left = length
    } else this.#sink.end()
    return chunk.subarray(end + 4)
  }

  #readBody(chunk: Buffer): Buffer {
    const part = chunk.length <= this.#left ? chunk : chunk.subarray(0, this.#left)
    this.#left -= part.length
    this.#sink.data(part)
    if (this.#left === 0) {
      if (this.#state === 'chunk') this.#state = 'chunk-end'
      else {
        this.#state = 'head'
        this.#sink.end()
      }
    }
    return chunk.subarray(part.length)
  }

  #readLine(chunk: Buffer): Buffer | undefined {
    const end = chunk.indexOf('\r\n')
    if (end < 0) return undefined
    const line = chunk.toString('latin1', 0, end)
    if (this.#state === 'chunk-size') {
      this.#left = Number.parseInt(line, 16)
      if (Number.isNaN(this.#left)) throw new Error(`not a chunk size: ${line.slice(0, 20)}`)
      this.#state = this.#left === 0 ? 'trailers' : 'chunk'
    } else if (this.#state === 'chunk-end') this.#state = 'chunk-size'
    else if (line === '') {
      this.#state = 'head'
      this.#sink.end()
    }
    return chunk.subarray(end + 2)
  }
}
