/** Records of a fixed number of 32-bit numbers over a stream between two processes of this benchmark; all of one turn in one write. */
import type { Duplex } from 'node:stream'

export class RecordStream {
  readonly #socket: Duplex
  #queue: number[] = []

  /** @param fields of each record that comes in @param take is called with each; what it is given is its own only until it returns */
  constructor(socket: Duplex, fields: number, take: (record: Uint32Array) => void) {
    this.#socket = socket
    const bytesPerRecord = fields * Uint32Array.BYTES_PER_ELEMENT
    let rest: Buffer = Buffer.alloc(0)
    // The other process is gone: there is nobody to tell.
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes: Buffer) => {
      const all = rest.length > 0 ? Buffer.concat([rest, bytes]) : bytes
      const whole = all.length - (all.length % bytesPerRecord)
      // A copy, because numbers have to be aligned.
      const numbers = new Uint32Array(Uint8Array.from(all.subarray(0, whole)).buffer)
      for (let at = 0; at < numbers.length; at += fields) take(numbers.subarray(at, at + fields))
      rest = all.subarray(whole)
    })
  }

  send(...record: readonly number[]): void {
    if (this.#queue.length === 0) setImmediate(() => this.#flush())
    this.#queue.push(...record)
  }

  #flush(): void {
    const numbers = Uint32Array.from(this.#queue)
    this.#queue = []
    if (!this.#socket.destroyed) this.#socket.write(Buffer.from(numbers.buffer))
  }
}
