/** Bytes to printable lines. A line over the cap is cut and says so; what follows up to its newline is dropped and counted. */
const newline = 10

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const control = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g

/** Terminal sequences and other control characters as `\xNN`; tabs stay. */
export const escapeControl = (text: string): string =>
  text.replace(control, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)

export class LineSplitter {
  readonly #maxBytes: number
  readonly #emit: (line: string) => void
  #parts: Buffer[] = []
  #size = 0
  #cut = 0

  constructor(maxBytes: number, emit: (line: string) => void) {
    this.#maxBytes = maxBytes
    this.#emit = emit
  }

  push(chunk: Buffer): void {
    let from = 0
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      this.#add(chunk.subarray(from, at))
      this.#end()
      from = at + 1
    }
    this.#add(chunk.subarray(from))
  }

  /** Emits a line that has no newline yet. */
  flush(): void {
    if (this.#size > 0 || this.#cut > 0) this.#end()
  }

  #end(): void {
    const text = escapeControl(Buffer.concat(this.#parts).toString('utf8').replace(/\r$/, ''))
    this.#emit(this.#cut > 0 ? `${text} [cut: ${this.#cut} bytes more]` : text)
    this.#parts = []
    this.#size = 0
    this.#cut = 0
  }

  #add(bytes: Buffer): void {
    const room = Math.max(0, this.#maxBytes - this.#size)
    const kept = bytes.subarray(0, room)
    // Copied: a slice would keep the whole 64 KiB chunk of the pipe alive.
    if (kept.length > 0) this.#parts.push(Buffer.from(kept))
    this.#size += kept.length
    this.#cut += bytes.length - kept.length
  }
}
