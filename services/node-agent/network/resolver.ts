/**
 * The name server of the node's sandboxes: it answers only names that the asker's policy allows, and opens what a rule's name resolves to for as
 * long as the answer holds. Who asks is told by the address, which the filter pins to the slot.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Logger } from '../../chassis/log.ts'
import { registryKey } from '../../contracts/subjects.ts'
import type { BoundFunctions } from '../bindings/bound-functions.ts'
import { formatAddress, type AddressPlan } from './addresses.ts'
import {
  addressesOf,
  mayResolve,
  ownAnswer,
  readQuestion,
  refusalOf,
  truncated,
  withId,
  type Question,
  type Resolved,
} from './dns-answer.ts'
import { whoAt, type Audit } from './flow-audit.ts'
import type { NodeNetwork } from './node-network.ts'
import type { PolicyTable } from './policy-table.ts'
import { askUpstreams, frame, type Upstream } from './upstream.ts'

export interface ResolverDeps {
  readonly nodeId: string
  readonly plan: AddressPlan
  readonly network: Pick<NodeNetwork, 'askerAt'>
  readonly table: Pick<PolicyTable, 'pin'>
  readonly audit: Pick<Audit, 'add'>
  /** Names of what functions are bound to, which no other server knows. */
  readonly bound: Pick<BoundFunctions, 'resolve'>
  readonly upstreams: readonly Upstream[]
  readonly logger: Logger
}

const port = 53
/** Questions in flight: of one asker, so that none takes all, and of the node. */
const maxOfAsker = 64
const maxInAll = 1024
/** An answer that ends at once could not be used. */
const leastPinSeconds = 5
const tcpIdleMs = 10_000
const maxTcpConnections = 256

export class Resolver {
  readonly #deps: ResolverDeps
  readonly #sockets: UdpSocket[] = []
  readonly #servers: Server[] = []
  readonly #connections = new Set<Socket>()
  readonly #inFlight = new Map<string, number>()
  #total = 0

  private constructor(deps: ResolverDeps) {
    this.#deps = deps
  }

  /** @throws Error when the addresses cannot be listened on. */
  static async listen(deps: ResolverDeps): Promise<Resolver> {
    const resolver = new Resolver(deps)
    try {
      for (const address of [deps.plan.gateway4, deps.plan.gateway6]) await resolver.#listen(formatAddress(address))
      return resolver
    } catch (error) {
      await resolver.close()
      throw error
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.destroy()
    await Promise.all([
      ...this.#sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
      ...this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    ])
  }

  async #listen(address: string): Promise<void> {
    const { logger } = this.#deps
    const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    udp.bind(port, address)
    await once(udp, 'listening')
    this.#sockets.push(udp)
    udp.on('error', (err) => logger.warn({ err }, 'resolver'))
    udp.on('message', (message, { address: from, port: fromPort }) => {
      const send = (answer: Buffer, question: Question): void => {
        udp.send(answer.length > question.udpBytes ? truncated(question) : answer, fromPort, from, () => undefined)
      }
      void this.#take(message, from, send)
    })
    const tcp = createServer((socket) => this.#serve(socket))
    tcp.maxConnections = maxTcpConnections
    tcp.listen(port, address)
    await once(tcp, 'listening')
    this.#servers.push(tcp)
    tcp.on('error', (err) => logger.warn({ err }, 'resolver'))
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket)
    socket.setTimeout(tcpIdleMs, () => socket.destroy())
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('error', () => socket.destroy())
    const from = socket.remoteAddress ?? ''
    let received = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0)
        void this.#take(received.subarray(2, end), from, (answer) => void socket.write(frame(answer)))
        received = received.subarray(end)
      }
    })
  }

  async #take(message: Buffer, from: string, send: (answer: Buffer, question: Question) => void): Promise<void> {
    const question = readQuestion(message)
    // What cannot be read has no number to be answered with.
    if (!question) return
    const mine = this.#inFlight.get(from) ?? 0
    if (mine >= maxOfAsker || this.#total >= maxInAll) return send(refusalOf(question, 'REFUSED'), question)
    this.#inFlight.set(from, mine + 1)
    this.#total++
    try {
      send(await this.#answer(question, from), question)
    } catch (err) {
      this.#deps.logger.warn({ err }, 'a question could not be answered')
    } finally {
      this.#total--
      const left = (this.#inFlight.get(from) ?? 1) - 1
      if (left > 0) this.#inFlight.set(from, left)
      else this.#inFlight.delete(from)
    }
  }

  async #answer(question: Question, from: string): Promise<Buffer> {
    const { network, upstreams } = this.#deps
    const asker = network.askerAt(from)
    if (!asker) return refusalOf(question, 'REFUSED')
    const askedAt = performance.now()
    const tell = (verdict: 'answered' | 'denied' | 'failed', addresses: readonly string[] = []): void =>
      this.#deps.audit.add({
        kind: 'dns',
        ...whoAt(this.#deps.nodeId, asker.tenancy, askedAt),
        verdict,
        question: question.name,
        type: question.type,
        addresses: [...addresses],
      })
    const { tenant, name } = asker.tenancy.config
    const proxy = this.#deps.bound.resolve(registryKey(tenant, name), question.name)
    if (proxy !== undefined) {
      tell('answered', [proxy])
      return ownAnswer(question, proxy)
    }
    if (!asker.loaded || !mayResolve(asker.loaded.policy, question.name)) {
      tell('denied')
      return refusalOf(question, 'NXDOMAIN')
    }
    const answer = await askUpstreams(upstreams, question)
    if (!answer) {
      tell('failed')
      return refusalOf(question, 'SERVFAIL')
    }
    const resolved = addressesOf(answer.packet, question.name)
    this.#pin(question.name, from, resolved)
    tell(
      'answered',
      resolved.map(({ text }) => text),
    )
    return withId(answer.bytes, question.id)
  }

  /** Into the policy of now: it may have changed while the answer was on its way. */
  #pin(name: string, from: string, resolved: readonly Resolved[]): void {
    const loaded = this.#deps.network.askerAt(from)?.loaded
    if (!loaded) return
    for (const { bytes, ttlSeconds } of resolved) {
      const until = process.hrtime.bigint() + BigInt(Math.max(ttlSeconds, leastPinSeconds)) * 1_000_000_000n
      this.#deps.table.pin(loaded, name.toLowerCase(), bytes, until)
    }
  }
}
