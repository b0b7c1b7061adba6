/** Reads what the kernels of sandboxes tell of calls on sockets, and brings it to the audit. */
import { closeSync } from 'node:fs'
import type { Logger } from '../../chassis/log.ts'
import type { TraceCalls } from '../sandbox/host-calls.ts'
import { whoAt, type Audit } from './flow-audit.ts'
import type { Tenancy } from './node-network.ts'
import { readSocketMessage, type SocketCall } from './socket-message.ts'

const readEveryMs = 25
const bufferBytes = 2 * 1024 * 1024

/** What of a sandbox this needs. */
export interface Traceable {
  traceSockets(socket: number): Promise<void>
}

export interface SocketTraceDeps {
  readonly calls: TraceCalls
  readonly nodeId: string
  readonly audit: Pick<Audit, 'add'>
  /** Counts of what is in no record. */
  readonly onLost: (calls: number) => void
  readonly logger: Logger
}

interface Traced {
  readonly tenancy: Tenancy
  dropped: number
}

export class SocketTraces {
  readonly #deps: SocketTraceDeps
  readonly #place: number
  readonly #traced = new Map<number, Traced>()
  readonly #buffer = Buffer.alloc(bufferBytes)
  readonly #timer: NodeJS.Timeout

  constructor(deps: SocketTraceDeps) {
    this.#deps = deps
    this.#place = deps.calls.traceOpen()
    this.#timer = setInterval(() => this.#read(), readEveryMs)
  }

  /** Until the sandbox is gone. Rejects with ControlError when gVisor refuses it. */
  async begin(sandbox: Traceable, tenancy: Tenancy): Promise<void> {
    const [ours, theirs] = this.#deps.calls.tracePair(this.#place)
    this.#traced.set(ours, { tenancy, dropped: 0 })
    try {
      await sandbox.traceSockets(theirs)
    } finally {
      // Should it have been refused, that was the last end of it, and the next reading tells so.
      closeSync(theirs)
    }
  }

  close(): void {
    clearInterval(this.#timer)
    this.#read()
    for (const socket of this.#traced.keys()) closeSync(socket)
    this.#traced.clear()
    closeSync(this.#place)
  }

  /** Once in a turn: a sandbox that tells more than one reading takes has to wait. */
  #read(): void {
    if (this.#traced.size === 0) return
    const bytes = this.#deps.calls.traceRead(this.#place, this.#buffer)
    for (let at = 0; at < bytes;) {
      const socket = this.#buffer.readUInt32LE(at)
      const length = this.#buffer.readUInt32LE(at + 4)
      at += 8
      if (length === 0) this.#end(socket)
      else this.#take(socket, this.#buffer.subarray(at, at + length))
      at += length
    }
  }

  #end(socket: number): void {
    if (this.#traced.delete(socket)) closeSync(socket)
  }

  #take(socket: number, message: Buffer): void {
    const traced = this.#traced.get(socket)
    if (!traced) return
    try {
      const { dropped, call } = readSocketMessage(message)
      if (dropped > traced.dropped) this.#deps.onLost(dropped - traced.dropped)
      traced.dropped = dropped
      if (call) this.#tell(traced.tenancy, call)
    } catch (err) {
      this.#deps.onLost(1)
      this.#deps.logger.warn(
        { err, instanceId: traced.tenancy.instanceId },
        'a message of a sandbox’s kernel cannot be read',
      )
    }
  }

  #tell(tenancy: Tenancy, { operation, errno, at, address, port }: SocketCall): void {
    // The sandbox's clock is the host's, but it is the sandbox that says what it shows.
    const atMs = Math.min(performance.now(), at - performance.timeOrigin)
    this.#deps.audit.add({
      kind: 'socket',
      ...whoAt(this.#deps.nodeId, tenancy, atMs),
      verdict: errno === 0 ? 'done' : 'failed',
      operation,
      errno,
      ...(address === undefined ? {} : { address }),
      ...(port === undefined ? {} : { port }),
    })
  }
}
