/** The log of one instance: bounded reading of its output, attribution to invocations, tails. */
import type { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { VersionConfig } from '../../contracts/function.ts'
import type { LogRecord } from '../../contracts/usage.ts'
import type { LogPublisher } from './log-publisher.ts'
import { LineSplitter } from './line-splitter.ts'

export interface InstanceLogOptions {
  readonly instanceId: string
  readonly publisher: LogPublisher
  readonly lineBytes: number
  readonly bytesPerSecond: number
  readonly onDropped: (bytes: number) => void
}

export const tailBytes = 4096
/** Longest time that the end of an invocation waits for output that is still in the pipe. */
const settleMs = 20

export class InstanceLog {
  readonly #options: InstanceLogOptions
  readonly #tails = new Map<string, { lines: string[]; bytes: number }>()
  #config: VersionConfig | undefined
  /** Before the assignment nobody can be told; kept up to the tail's size. */
  readonly #early: Omit<LogRecord, 'version'>[] = []
  #received = 0
  #windowFrom = 0
  #windowBytes = 0
  #dropped = 0
  readonly #splitters: LineSplitter[] = []

  constructor(options: InstanceLogOptions) {
    this.#options = options
  }

  attach(stdout: Readable, stderr: Readable): void {
    this.#read('stdout', stdout)
    this.#read('stderr', stderr)
  }

  assign(config: VersionConfig): void {
    this.#config = config
    for (const record of this.#early.splice(0)) this.#publish(record)
  }

  begin(invocationId: string): void {
    this.#tails.set(invocationId, { lines: [], bytes: 0 })
  }

  /** A line of the platform's about this invocation (or about the instance). Never rate-limited. */
  platform(line: string, invocationId?: string): void {
    this.#record('platform', line, invocationId)
  }

  /** Waits until what the function printed before now has been read; bounded. */
  async settle(): Promise<void> {
    const until = performance.now() + settleMs
    let seen: number
    do {
      seen = this.#received
      await nextTurn()
      await nextTurn()
    } while (seen !== this.#received && performance.now() < until)
    for (const splitter of this.#splitters) splitter.flush()
  }

  /** Base64 of the last 4 KiB of the invocation's log; forgets them. */
  takeTail(invocationId: string): string {
    const tail = this.#tails.get(invocationId)
    this.#tails.delete(invocationId)
    const bytes = Buffer.from((tail?.lines ?? []).map((line) => `${line}\n`).join(''))
    return bytes.subarray(Math.max(0, bytes.length - tailBytes)).toString('base64')
  }

  close(): void {
    for (const splitter of this.#splitters) splitter.flush()
    this.#tellDropped()
  }

  #read(stream: 'stdout' | 'stderr', source: Readable): void {
    const splitter = new LineSplitter(this.#options.lineBytes, (line) => this.#record(stream, line))
    this.#splitters.push(splitter)
    source.on('data', (chunk: Buffer) => {
      this.#received += chunk.length
      const allowed = this.#allow(chunk.length)
      if (allowed > 0) splitter.push(chunk.subarray(0, allowed))
    })
    source.on('end', () => splitter.flush())
    // The sandbox's end closes the pipe; what was read is all there is.
    source.on('error', () => splitter.flush())
  }

  /** Bytes of this chunk that the rate limit lets through. */
  #allow(bytes: number): number {
    const now = performance.now()
    if (now - this.#windowFrom >= 1000) {
      this.#tellDropped()
      this.#windowFrom = now
      this.#windowBytes = 0
    }
    const allowed = Math.min(bytes, Math.max(0, this.#options.bytesPerSecond - this.#windowBytes))
    this.#windowBytes += allowed
    this.#dropped += bytes - allowed
    if (bytes > allowed) this.#options.onDropped(bytes - allowed)
    return allowed
  }

  #tellDropped(): void {
    if (this.#dropped === 0) return
    const { bytesPerSecond } = this.#options
    this.platform(`LOGS dropped ${this.#dropped} bytes: over logBytesPerSecond (${bytesPerSecond})`, this.#only())
    this.#dropped = 0
  }

  #only(): string | undefined {
    return this.#tails.size === 1 ? this.#tails.keys().next().value : undefined
  }

  /** The one invocation in flight, or the one that the line names. */
  #attribute(line: string): string | undefined {
    return this.#only() ?? [...this.#tails.keys()].find((id) => line.includes(id))
  }

  #record(stream: LogRecord['stream'], line: string, named?: string): void {
    const invocationId = named ?? (stream === 'platform' ? undefined : this.#attribute(line))
    const tail = invocationId === undefined ? undefined : this.#tails.get(invocationId)
    if (tail) {
      tail.lines.push(line)
      tail.bytes += Buffer.byteLength(line) + 1
      while (tail.lines.length > 1 && tail.bytes - Buffer.byteLength(tail.lines[0] ?? '') - 1 >= tailBytes)
        tail.bytes -= Buffer.byteLength(tail.lines.shift() ?? '') + 1
    }
    const record = { at: Date.now(), instanceId: this.#options.instanceId, stream, line }
    this.#publish(invocationId === undefined ? record : { ...record, invocationId })
  }

  #publish(record: Omit<LogRecord, 'version'>): void {
    if (this.#config)
      this.#options.publisher.add(this.#config.tenant, this.#config.name, { ...record, version: this.#config.version })
    else if (this.#early.length < 64) this.#early.push({ ...record, line: record.line.slice(0, tailBytes) })
  }
}
