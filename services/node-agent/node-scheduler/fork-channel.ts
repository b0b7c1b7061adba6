/** What the node and a seed say to each other, one message a line; the seed's side is `images/nodejs24.x/native/runner-calls.c`. */
import { createServer, type Server, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { listenOnSocket } from '../instance-socket.ts'

/** The first line: whether what the function left open can be forked. */
const SeedHello = Type.Union([
  Type.Object({ ready: Type.Literal(true) }, { additionalProperties: false }),
  Type.Object({ unfit: Type.String() }, { additionalProperties: false }),
])
export type SeedHello = Static<typeof SeedHello>

/** `enum fork_cause` of `images/native/fork-limits.h`: which limit the fork was killed at. */
const endCauses = ['within-limits', 'memory', 'processes'] as const
export type EndCause = (typeof endCauses)[number]

export type SeedMessage =
  | { readonly what: 'forked'; readonly id: string; readonly pid: number }
  | { readonly what: 'failed'; readonly id: string; readonly errno: number }
  | { readonly what: 'used'; readonly id: string; readonly memoryMiB: number }
  | { readonly what: 'ended'; readonly id: string; readonly waitStatus: number; readonly cause: EndCause }

/** Pure. Nothing for a line that no seed sends: it comes out of the sandbox. */
export const parseHello = (line: string): SeedHello | undefined => {
  try {
    const hello: unknown = JSON.parse(line)
    return Value.Check(SeedHello, hello) ? hello : undefined
  } catch {
    return undefined
  }
}

/** Pure. */
export const parseMessage = (line: string): SeedMessage | undefined => {
  const [, what, id = '', first, second] =
    /^(forked|failed|used|ended) ([0-9a-f]{16}) (\d{1,10})(?: ([012]))?$/.exec(line) ?? []
  const number = Number(first)
  const cause = endCauses[Number(second)]
  if (what === 'forked' && second === undefined) return { what, id, pid: number }
  if (what === 'failed' && second === undefined) return { what, id, errno: number }
  if (what === 'used' && second === undefined) return { what, id, memoryMiB: number }
  if (what === 'ended' && cause) return { what, id, waitStatus: number, cause }
  return undefined
}

/** A line is short; whoever sends longer ones is no seed. */
const maxLineBytes = 8192

export interface ForkChannelEvents {
  readonly message: (message: SeedMessage) => void
  /** The seed is gone, or speaks another language. */
  readonly lost: (problem: string) => void
}

export class ForkChannel {
  readonly #server: Server
  readonly #events: ForkChannelEvents
  readonly #hello = Promise.withResolvers<SeedHello>()
  /** Resolves when the function is initialised. Rejects when the connection ends before. */
  readonly hello = this.#hello.promise
  #socket: Socket | undefined
  #greeted = false

  private constructor(server: Server, events: ForkChannelEvents) {
    this.#server = server
    this.#events = events
    this.hello.catch(() => undefined)
  }

  /** Listens on `socketPath`, for one connection. */
  static async open(socketPath: string, events: ForkChannelEvents): Promise<ForkChannel> {
    const server = createServer()
    const channel = new ForkChannel(server, events)
    server.once('connection', (socket) => channel.#take(socket))
    await listenOnSocket(server, socketPath)
    return channel
  }

  fork(id: string, entropy: Buffer): void {
    this.#socket?.write(`fork ${id} ${entropy.toString('hex')}\n`)
  }

  kill(id: string): void {
    this.#socket?.write(`kill ${id}\n`)
  }

  close(): void {
    this.#hello.reject(new Error('the seed ended'))
    this.#server.close()
    this.#socket?.destroy()
  }

  #take(socket: Socket): void {
    this.#server.close()
    this.#socket = socket
    let pending = 0
    socket.on('data', (chunk: Buffer) => {
      const at = chunk.lastIndexOf(10)
      pending = at < 0 ? pending + chunk.length : chunk.length - at - 1
      if (pending > maxLineBytes) this.#lose('a line too long')
    })
    socket.on('error', () => undefined)
    socket.once('close', () => this.#lose('the seed closed its connection'))
    createInterface({ input: socket }).on('line', (line) => this.#hear(line))
  }

  #hear(line: string): void {
    if (!this.#greeted) {
      const hello = parseHello(line)
      if (!hello) return this.#lose('the seed did not say how it is')
      this.#greeted = true
      return this.#hello.resolve(hello)
    }
    const message = parseMessage(line)
    if (message) this.#events.message(message)
    else this.#lose('the seed sent what is no message')
  }

  #lose(problem: string): void {
    this.#socket?.destroy()
    this.#hello.reject(new Error(problem))
    this.#events.lost(problem)
  }
}

export interface ForkOutput {
  /** Closes what is still open. */
  close(): void
}

/** A fork connects twice: standard output first. `attach` is called once, when both are here. */
export const openForkOutput = async (
  socketPath: string,
  attach: (stdout: Socket, stderr: Socket) => void,
): Promise<ForkOutput> => {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    if (sockets.length === 2) {
      socket.destroy()
      return
    }
    sockets.push(socket)
    const [stdout, stderr] = sockets
    if (!stdout || !stderr) return
    server.close()
    attach(stdout, stderr)
  })
  await listenOnSocket(server, socketPath)
  return {
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
