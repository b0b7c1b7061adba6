/**
 * Node agents without sandboxes: they take start commands over the agent's own link, report with the agent's own reporter, and let a clock
 * do what an instance does. For measuring schedulers, and nothing else.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { AddressInfo } from 'node:net'
import type { NatsConnection } from '@nats-io/transport-node'
import fastify, { type FastifyInstance } from 'fastify'
import { acceptLinks } from '../../../services/chassis/link/accept.ts'
import { instanceLink } from '../../../services/contracts/links.ts'
import type { InstanceReport, StartInstance } from '../../../services/contracts/node.ts'
import { revisionKey, type RevisionRef } from '../../../services/contracts/placement.ts'
import { Reporter } from '../../../services/node-agent/node-scheduler/reporter.ts'
import { TermFence } from '../../../services/node-agent/node-scheduler/term-fence.ts'
import { instanceSession } from '../../../services/node-agent/routes/instance-link.ts'

interface Instance {
  readonly command: StartInstance
  readonly key: string
  state: InstanceReport['state']
  idleSince: number
}

interface Waiting {
  readonly invocationId: string
  readonly handlerMs: number
  readonly done: () => void
}

/** A restore, give or take. */
const startMs = () => 60 + Math.random() * 40
/** A reporter's. */
const beatMs = 1_000
const capacity = { memoryMiB: 65_536, instances: 512, cpus: 16 }

export class SimulatedNode {
  readonly fence = new TermFence()
  readonly #reporter: Reporter
  readonly #instances = new Map<string, Instance>()
  readonly #idle = new Map<string, Instance[]>()
  readonly #waiting = new Map<string, Waiting[]>()

  constructor(nodeId: string, url: string, connection: NatsConnection) {
    this.#reporter = new Reporter({
      connection,
      nodeId,
      fence: this.fence,
      url: () => url,
      accepting: () => true,
      cordon: () => undefined,
      capacity,
      pool: 'default',
      labels: {},
      cache: () => ({ heldMiB: 0, pinnedMiB: 0 }),
      all: () => [...this.#instances.values()].map((instance) => this.#report(instance)),
    })
    this.#reporter.start()
  }

  get instances(): number {
    return this.#instances.size
  }

  start(command: StartInstance): void {
    const instance: Instance = { command, key: revisionKey(command.revision), state: 'starting', idleSince: 0 }
    this.#instances.set(command.instanceId, instance)
    this.#changed(instance)
    setTimeout(() => this.#free(instance), startMs())
  }

  end(instanceId: string, reason: string): void {
    const instance = this.#instances.get(instanceId)
    if (!instance) return
    if (instance.state === 'idle') {
      this.#instances.delete(instanceId)
      instance.state = 'ended'
      this.#reporter.instanceChanged({ ...this.#report(instance), reason })
    }
  }

  /** @param done the answer is there */
  invoke(invocationId: string, revision: RevisionRef, handlerMs: number, done: () => void): void {
    const key = revisionKey(revision)
    const idle = this.#idle.get(key) ?? []
    for (let instance = idle.pop(); instance; instance = idle.pop())
      if (instance.state === 'idle') return this.#run(instance, { invocationId, handlerMs, done })
    const queue = this.#waiting.get(key) ?? []
    queue.push({ invocationId, handlerMs, done })
    this.#waiting.set(key, queue)
  }

  stop(): void {
    this.#reporter.stop()
  }

  #run(instance: Instance, { invocationId, handlerMs, done }: Waiting): void {
    instance.state = 'busy'
    this.#changed(instance)
    setTimeout(() => {
      this.#free(instance)
      this.#reporter.invocationEnded(invocationId)
      done()
    }, handlerMs)
  }

  #free(instance: Instance): void {
    const next = this.#waiting.get(instance.key)?.shift()
    if (next) return this.#run(instance, next)
    instance.state = 'idle'
    instance.idleSince = Date.now()
    const idle = this.#idle.get(instance.key) ?? []
    idle.push(instance)
    this.#idle.set(instance.key, idle)
    this.#changed(instance)
  }

  #changed(instance: Instance): void {
    this.#reporter.instanceChanged(this.#report(instance))
  }

  #report({ command, state, idleSince }: Instance): InstanceReport {
    const { instanceId, revision, memoryMiB, policy } = command
    const inFlight = state === 'busy' ? 1 : 0
    return { instanceId, revision, memoryMiB, policy, state, inFlight, ...(state === 'idle' ? { idleSince } : {}) }
  }
}

export interface SimulatedFleet {
  readonly nodes: ReadonlyMap<string, SimulatedNode>
  stop(): Promise<void>
}

/** Each node has an address of its own on loopback, and so a connection of its own. */
const addressOf = (index: number): string => `127.1.${(index >> 8) & 255}.${index & 255}`

export const startFleet = async (
  count: number,
  connections: readonly NatsConnection[],
  token: string,
): Promise<SimulatedFleet> => {
  const byAddress = new Map<string, SimulatedNode>()
  const app: FastifyInstance = fastify()
  acceptLinks(app, {
    path: instanceLink,
    token,
    open: ({ socket }) => {
      const node = byAddress.get(socket.localAddress ?? '')
      if (!node) throw new Error(`no node at ${socket.localAddress}`)
      return instanceSession(node, node.fence, { set: () => undefined })
    },
  })
  await app.listen({ host: '0.0.0.0', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const run = randomUUID().slice(0, 8)
  const nodes = new Map<string, SimulatedNode>()
  for (let index = 0; index < count; index++) {
    const connection = connections[index % connections.length]
    if (!connection) throw new Error('no connection')
    const address = addressOf(index + 1)
    const nodeId = `node-${run}-${index}`
    const node = new SimulatedNode(nodeId, `http://${address}:${port}`, connection)
    nodes.set(nodeId, node)
    byAddress.set(address, node)
    // Their clocks do not beat together.
    await delay(beatMs / count)
  }
  return {
    nodes,
    stop: async () => {
      for (const node of nodes.values()) node.stop()
      await app.close()
    },
  }
}
